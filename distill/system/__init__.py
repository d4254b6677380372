"""Signals, threads and paths: what a process shares with its machine."""
