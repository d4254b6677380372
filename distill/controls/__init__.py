"""Controls of generated sounds: descriptors, axes measured by them, morphs and variations."""
