"""What the commands below `distill losses` print alike."""

import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distill.plugin.registered import Balancer, Term

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")


def names(found: "Term | Balancer") -> str:
    """Give every name, the canonical one first."""
    return ", ".join(found.names)


def record(found: "Term | Balancer") -> dict[str, Any]:
    """Say what a term or balancer is and where it comes from, as JSON has it."""
    return {
        "name": found.name,
        "aliases": list(found.names[1:]),
        "distribution": found.distribution,
        "version": found.version,
        "summary": found.spec.summary,
    }


def print_json(data: Mapping[str, Any]) -> None:
    """Print data as JSON for other programs to read."""
    click.echo(json.dumps(data, indent=2))


def print_indented(text: str) -> None:
    """Print a text below its heading, as wide as the terminal allows."""
    width = min(shutil.get_terminal_size().columns, 100)
    indent = " " * 4
    click.echo(
        textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    )
