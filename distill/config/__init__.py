"""Configuration: strict conversion of attrs classes from and to TOML. Loads no torch."""

from distill.config.convert import structure, unstructure
from distill.config.describe import Option, describe
from distill.config.schema import require_readable
from distill.config.toml import assign, flatten, load_toml, parse_assignment, parse_assignments, to_toml
from distill.config.words import suggest

__all__ = [
    "Option",
    "assign",
    "describe",
    "flatten",
    "load_toml",
    "parse_assignment",
    "parse_assignments",
    "require_readable",
    "structure",
    "suggest",
    "to_toml",
    "unstructure",
]
