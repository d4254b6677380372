"""The runs of a comparison, and short names for them. Loads no torch."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from distill.errors import InputError, check_all
from distill.storage.run import Run, run_of

StrPath: TypeAlias = str | os.PathLike[str]


def distinct_runs(runs: Iterable[Run | StrPath]) -> list[Run]:
    """Return two runs or more, each given as such or by its folder.

    Raises:
        InputError: there are fewer than two runs, or one is given twice, also through a symbolic link.
        RunError: a folder is not a run.
    """
    if isinstance(runs, str | os.PathLike | Run) or len(runs := list(runs)) < 2:
        raise InputError(
            "expected two runs or more", culprit="runs", remedy="Pass the folders of several runs."
        )
    found = [run_of(each, culprit="runs", expected="runs or folders") for each in runs]
    check_all(Run.require, found)
    seen: set[str] = set()

    def require_new(run: Run) -> None:
        real = os.path.realpath(run.folder)
        if real in seen:
            raise InputError("is given twice", culprit=str(run.folder), remedy="Pass each run once.")
        seen.add(real)

    check_all(require_new, found)
    return found


def short_names(runs: Sequence[Run]) -> list[str]:
    """Return names that tell runs from each other: the last parts of their paths, as few as that takes."""
    parts = [Path(os.path.realpath(run.folder)).parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len({*names}) == len(names):
            return names
    return [str(run.folder) for run in runs]  # not reached: the paths differ
