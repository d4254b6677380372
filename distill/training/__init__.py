"""Training: the training loop, its batches and optimizers, and what a training run records and keeps."""
