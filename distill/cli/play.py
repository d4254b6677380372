"""`distill play`: make and hear sounds of a run on a page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli.options import Place

if TYPE_CHECKING:
    from distill.playing.server import Served


@click.command(short_help="Play a model on a page in the browser.")
@click.argument("run", type=Place())
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Port of the page; by default 7860, or the next free one."
)
@click.option(
    "--open/--no-open", "open_browser", default=True, show_default=True, help="Open it in a browser."
)
def play(run: Path, *, port: int | None, open_browser: bool) -> None:
    """Serve a page to make and play sounds with the model of the run folder RUN, until Ctrl-C.

    It has sliders along the axes of the run, a map of its recordings, morphs, variations and random sounds.
    Sounds can be kept, saved as presets in RUN, and downloaded as WAV and FLAC. Only this machine can open
    the page, and it loads nothing from a network. Needs the extra distill[play].
    """
    from distill.playing.requirements import require_playable
    from distill.storage.run import Run

    folder = Run(run)
    require_playable(folder)  # before torch is loaded
    from rich.console import Console

    from distill.cli.axes import axes_progress
    from distill.playing.play import play as serve

    def say(page: "Served") -> None:
        if page.note:
            click.echo(page.note)
        click.echo(f"{page.url}  (Ctrl-C stops)")

    with axes_progress(Console(stderr=True)) as show:
        serve(folder, port=port, open_browser=open_browser, on_served=say, on_progress=show)
