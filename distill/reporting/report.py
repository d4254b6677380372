"""`distill.report`, which the command line also calls."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from distill.arguments import optional_callable
from distill.audio.progress import Progress
from distill.reporting.facts import gather
from distill.reporting.page import render
from distill.storage.files import write_text
from distill.storage.run import Run, run_of

StrPath: TypeAlias = str | os.PathLike[str]


def report(
    run: Run | StrPath,
    *,
    refresh: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Write the page of a training run, `report.html` in its folder, and return its path.

        path = distill.report("runs/first")

    The page is one file, which opens from disk without a network. It has a verdict in words, held-out
    originals and reconstructions to compare, the curves of all components, statistics of the latents, and the
    recipe. What a run does not have yet is left out, and the page says so. `docs/report.md` has the rules of
    the verdict.

    Args:
        run: the value returned by `distill.train`, or the path of a run folder, whether finished or not.
        refresh: the seconds after which an open page reloads, for a run that is training.
        on_progress: called while held-out sounds are measured, and while those of the map are made.

    Raises:
        RunError: the folder is not a run, its records cannot be read, or the page cannot be written.
        ConfigError: the recipe of the run is not TOML.
        InputError: `run` is not a run, or `on_progress` not a function.
    """
    run = run_of(run)
    optional_callable(on_progress, culprit="on_progress")
    write_text(run.page, render(gather(run, on_progress=on_progress), refresh=refresh))
    return run.page
