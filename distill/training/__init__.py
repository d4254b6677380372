"""Training: the loop, what it draws and steps with, and what it keeps and records."""
