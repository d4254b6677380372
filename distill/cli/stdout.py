"""Standard output: names that any terminal can show, and nothing but the product where programs read it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

import click

from distill.cli.streams import Output, refusing

_PRODUCT = "distill.product"


def write_any_name() -> None:
    """Let standard output and error escape characters that their encoding lacks.

    Where one of them is closed, as `>&-` does, what is written to it is lost.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their descriptors, which are taken again
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def ignore_no_columns() -> None:
    """Forget a terminal of no columns (`COLUMNS=0`), to which Rich would print nothing."""
    if not os.environ.get("COLUMNS", "").strip("0"):
        os.environ.pop("COLUMNS", None)


def print_product(text: str, *, nl: bool = True) -> None:
    """Print the product of a command, for which `reserve_output` keeps standard output."""
    context = click.get_current_context(silent=True)
    click.echo(text, file=context.meta.get(_PRODUCT) if context else None, nl=nl)


def reserve_output(context: click.Context) -> None:
    """Reserve standard output for `print_product` until the command ends.

    Everything else, such as what a plugin prints when it is imported, goes to standard error.
    """
    if _PRODUCT not in context.meta:
        context.meta[_PRODUCT] = context.find_root().with_resource(_reserved())


@contextmanager
def foreign_output() -> Iterator[None]:
    """Send what is printed within the context to standard error."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def _reserved() -> Iterator[TextIO | Output]:
    stream = sys.stdout
    descriptor = _moved() if getattr(stream, "stream", stream) is sys.__stdout__ else None
    with foreign_output():
        if descriptor is None:
            yield stream
            return
        with os.fdopen(descriptor, "w", encoding=stream.encoding, errors=stream.errors) as product:
            checked = refusing(product)
            yield checked
            checked.flush()
    # Standard output stays where it is, for what is printed while the interpreter ends.


def _moved() -> int | None:
    """Move standard output to another descriptor, and direct its own to standard error.

    Thus also programs and libraries that print past `sys.stdout` print to standard error.
    """
    with suppress(OSError, ValueError):  # none of them is open
        sys.stdout.flush()
        descriptor = os.dup(1)
        os.dup2(2, 1)
        return descriptor
    return None
