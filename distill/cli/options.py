"""Options that several commands share."""

from pathlib import Path

import click

refine_option = click.option(
    "--refine",
    "refinements",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Steps that lower the spectral distance to each recording, at the cost of tones and level.",
)

overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing files; without it, they are an error and nothing is written.",
)


def _leave_plugins_out(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  # as click calls it
    from distill.plugin.selection import no_plugins  # `distill --help` does without

    if value:
        context.with_resource(no_plugins())


no_plugins_option = click.option(
    "--no-plugins",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_leave_plugins_out,
    help="Load no installed plugins; the built-in terms remain.",
)


def corpus_path(corpus: str) -> str:
    """Give a CORPUS as a recipe keeps it: a URL as it is, a path from the root."""
    return corpus if "://" in corpus else str(Path(corpus).resolve())
