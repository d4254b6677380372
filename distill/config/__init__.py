"""Configuration: strict conversion of attrs classes from and to TOML. Loads no torch."""

from distill.config.convert import structure, unstructure
from distill.config.describe import Option, describe
from distill.config.given import Assignment, Given, as_given, given_arguments, leaves_of, set_twice
from distill.config.schema import require_readable
from distill.config.toml import (
    assign,
    flatten,
    load_toml,
    no_tables,
    parse_assignment,
    parse_assignments,
    to_toml,
)
from distill.config.words import suggest

__all__ = [
    "Assignment",
    "Given",
    "Option",
    "as_given",
    "assign",
    "describe",
    "flatten",
    "given_arguments",
    "leaves_of",
    "load_toml",
    "no_tables",
    "parse_assignment",
    "parse_assignments",
    "require_readable",
    "set_twice",
    "structure",
    "suggest",
    "to_toml",
    "unstructure",
]
