"""Configuration: strict conversion of attrs classes from and to TOML. Loads no torch."""

from distill.config.convert import structure, unstructure
from distill.config.describe import Option, describe
from distill.config.given import Assigning, Assignment, Given, as_given, by_name, given_arguments, set_twice
from distill.config.schema import require_readable
from distill.config.toml import (
    assign,
    flatten,
    load_toml,
    no_tables,
    parse_assignment,
    parse_assignments,
    to_toml,
    too_deep,
)
from distill.config.words import suggest

__all__ = [
    "Assigning",
    "Assignment",
    "Given",
    "Option",
    "as_given",
    "assign",
    "by_name",
    "describe",
    "flatten",
    "given_arguments",
    "load_toml",
    "no_tables",
    "parse_assignment",
    "parse_assignments",
    "require_readable",
    "set_twice",
    "structure",
    "suggest",
    "to_toml",
    "too_deep",
    "unstructure",
]
