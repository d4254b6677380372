"""Output functions shared by the commands of `distill losses`."""

import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from distill.cli.stdout import print_product

if TYPE_CHECKING:
    from distill.plugin.registered import Balancer, Term


def names(found: "Term | Balancer") -> str:
    """Return all names of a term or balancer, comma-separated, the canonical one first."""
    return ", ".join(found.names)


def record(found: "Term | Balancer") -> dict[str, Any]:
    """Return the JSON record of a term or balancer: its names, origin and summary."""
    return {
        "name": found.name,
        "aliases": list(found.names[1:]),
        "distribution": found.distribution,
        "version": found.version,
        "summary": found.spec.summary,
    }


def print_json(data: Mapping[str, Any]) -> None:
    """Print data as indented JSON."""
    print_product(json.dumps(data, indent=2))


def print_indented(text: str) -> None:
    """Print a text indented and wrapped to the width of the terminal, at most 100 columns."""
    width = min(shutil.get_terminal_size().columns, 100)
    indent = " " * 4
    click.echo(
        textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    )
