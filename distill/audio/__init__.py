"""Audio: files of single sounds, and corpora of recordings."""
