"""Files: the run folder, checkpoints, and atomic writing."""
