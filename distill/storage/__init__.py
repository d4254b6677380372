"""Files: the run folder, checkpoints, and files that are either whole or not there."""
