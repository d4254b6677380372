"""`distill report`: write the page of a training run."""

import time
from pathlib import Path

import click

from distill.cli.options import Place

_SECONDS = 15


@click.command(short_help="Write the page of a run, to look at and listen to.")
@click.argument("run", type=Place())
@click.option(
    "--watch",
    is_flag=True,
    help=f"Write the page again every {_SECONDS} seconds while the run is training, or may go on.",
)
def report(run: Path, *, watch: bool) -> None:
    """Write report.html to the run folder RUN: one file, which opens in a browser without a network.

    It has a verdict in words, held-out originals and reconstructions to compare, all curves, statistics of
    the latents, and the recipe. RUN need not be finished. With --watch, an open page reloads
    until the run is finished or has failed, or Ctrl-C is pressed.
    """
    from distill.errors import printable
    from distill.storage.ending import ending_of
    from distill.storage.run import Run

    folder = Run(run)
    folder.require()  # before the slow import of torch

    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.reporting.report import report as write_report

    watched = watch and _may_go_on(ending_of(folder).state)
    with evaluation_progress(Console(stderr=True)) as on_progress:
        page = write_report(folder, refresh=_SECONDS if watched else None, on_progress=on_progress)
    click.echo(printable(page))
    if watched:
        click.echo(
            f"Written again every {_SECONDS} seconds, until the run is finished. Ctrl-C stops.", err=True
        )
    try:
        while watched:
            time.sleep(_SECONDS)
            watched = _may_go_on(ending_of(folder).state)
            write_report(folder, refresh=_SECONDS if watched else None)
    except KeyboardInterrupt:
        write_report(folder)


def _may_go_on(state: str) -> bool:
    """Return whether there may be more records: a run that was interrupted may go on at any time."""
    return state in ("running", "interrupted")
