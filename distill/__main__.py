"""`python -m distill`, as torchrun starts it."""

from distill.cli import main

main(prog_name="distill")
