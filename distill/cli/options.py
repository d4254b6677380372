"""Options that several commands share."""

from pathlib import Path

import click

REFINEMENTS = 30
"""Steps after which little is left to gain: `docs/sound.md` has the table."""

refine_option = click.option(
    "--refine",
    "refinements",
    type=click.IntRange(min=0),
    default=REFINEMENTS,
    show_default=True,
    help="Steps that bring the latents closer to each recording; 0: as the encoder gives them.",
)

overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing files; without it, they are an error and nothing is written.",
)


def corpus_path(corpus: str) -> str:
    """Give a CORPUS as a recipe keeps it: a URL as it is, a path from the root."""
    return corpus if "://" in corpus else str(Path(corpus).resolve())
