"""What the commands below `distill losses` print alike."""

import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distill.registry import Term

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")


def names(term: "Term") -> str:
    """Give every name of a term, the canonical one first."""
    return ", ".join(term.names)


def term_record(term: "Term") -> dict[str, Any]:
    """Say what a term is and where it comes from, as JSON has it."""
    return {
        "name": term.name,
        "aliases": list(term.spec.aliases),
        "distribution": term.distribution,
        "version": term.version,
        "summary": term.spec.summary,
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
