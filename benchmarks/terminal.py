"""Draw what a training run prints in a terminal, for the README.

Run: python benchmarks/terminal.py [--minutes 3] [--out docs/pictures/terminal.svg]

Trains on the demo corpus in a temporary folder, as the README's first command does.
"""

import re
import tempfile
from contextlib import chdir
from io import StringIO
from pathlib import Path
from typing import Any

import click
from attrs import evolve
from rich.console import Console

import distill
from distill.audio.progress import Progress
from distill.cli.display import Display
from distill.training.observing import Outcome, Summary
from distill.training.record import Record

LOSS, COLUMNS = "stft,recon,kl", 118
CORPUS = "runs/.distill/demo"


class Shown(Display):
    """What a terminal shows at the end, with the corpus as a reader finds it.

    Of what is drawn over, as the progress is, the last frame remains.
    """

    def summary(self, summary: Summary) -> None:
        """Show it without the temporary folder."""
        super().summary(evolve(summary, corpus=CORPUS))

    def record(self, record: Record) -> None:
        """Take it in."""
        self.dashboard.add(record)

    def progress(self, progress: Progress) -> None:
        """Show nothing, as it disappears."""

    def done(self, outcome: Outcome) -> None:
        """Show the last frame, and what to do next."""
        self.console.print(self.dashboard)
        super().done(outcome)


class Wrapping(Console):
    """A console that wraps long lines as a terminal does. Rich cuts them off where it draws them."""

    def print(self, *objects: object, **options: Any) -> None:  # noqa: ANN401  # as Rich has them
        """Print with line breaks."""
        super().print(*objects, **{**options, "soft_wrap": False})


@click.command()
@click.option("--minutes", default=3.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/pictures/terminal.svg"))
def main(minutes: float, out: Path) -> None:
    """Train, and draw what is printed."""
    console = Wrapping(record=True, file=StringIO(), width=COLUMNS)
    console.print(f"$ distill train --loss {LOSS} --minutes {minutes:g}", style="bold", highlight=False)
    with tempfile.TemporaryDirectory() as folder, chdir(folder), Shown(console) as display:
        few = {"training.evaluations": 4}
        distill.train(loss=LOSS, minutes=minutes, out="runs/demo", options=few, observer=display)
    picture = console.export_svg(title="distill")
    # Rich's fonts lie on a server, and a reader has others; the folder is gone.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    out.write_text(re.sub(r" *$", "", picture, flags=re.MULTILINE))


if __name__ == "__main__":
    main()
