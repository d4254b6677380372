"""Comparison of training runs: what differs, by how much, and whether it is more than chance."""
