"""`distill.compare`, which the command line also calls."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from distill.arguments import path_like
from distill.audio.corpus import NamedArray
from distill.comparison.answers import read_answers
from distill.comparison.gathering import Gathered, OnProgress, gather
from distill.comparison.listening import Listening, results_of
from distill.comparison.page import render
from distill.comparison.sounds import versions_of
from distill.comparison.text import lines_of, listening_lines
from distill.storage.files import require_writable, write_text
from distill.storage.run import Run

StrPath: TypeAlias = str | os.PathLike[str]


@frozen(kw_only=True)
class Comparison:
    """A comparison of runs. `str()` returns it as text.

    Attributes:
        facts: the runs, what differs between their recipes, the recordings, and the table of measures.
        listening: what the answers of listening tests show, None without answers.
        page: the path of the page, None if it was not written.
    """

    facts: Gathered
    listening: Listening | None = None
    page: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as printed by `distill compare --json`."""
        facts = self.facts
        return {
            "runs": [each.to_dict() for each in facts.runs],
            "differences": [
                {"address": each.address, "values": list(each.values)} for each in facts.differences
            ],
            "recordings": [each.to_dict() for each in facts.recordings],
            "measures": [
                {
                    "measure": row.scale.key,
                    "best": "highest" if row.scale.higher else "lowest",
                    "recordings": row.count,
                    "runs": [cell.to_dict() for cell in row.cells],
                }
                for row in facts.rows
            ],
            "listening": self.listening and self.listening.to_dict(),
            "notes": list(facts.notes),
        }

    def __str__(self) -> str:
        listened = [] if self.listening is None else listening_lines(self.listening, self.facts.runs[0].name)
        return "\n".join([*lines_of(self.facts), *listened])


def compare(
    runs: Iterable[Run | StrPath],
    *,
    on: StrPath | Iterable[NamedArray] | None = None,
    trained: bool = False,
    answers: StrPath | Iterable[StrPath] = (),
    out: StrPath | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compare training runs with each other.

        comparison = distill.compare(["runs/first", "runs/second"], out="comparison.html")
        print(comparison)

    Measures are means over the recordings that all runs held out, with intervals (95 %, bootstrap over the
    recordings) of the paired differences from the first run. A difference counts only if its interval
    excludes 0. `docs/compare.md` has the formulas.

    Args:
        runs: two or more values returned by `distill.train`, or paths of run folders. They need not be
            finished, nor of one corpus.
        on: recordings to compare on instead: a folder, a single file, or arrays, as in `distill.train`.
            Recordings that one of the runs was trained on are marked, and left out of the table.
        trained: have them in the table all the same.
        answers: a file or files of answers that the page of a comparison saved.
        out: the file to write the page to: curves, sounds and a blind listening test. Default: none.
        overwrite: replace the file `out` if it exists.
        on_progress: called with the name of a run and its progress while it is measured, and with an empty
            name while the sounds of the page are made.

    Raises:
        InputError: there are fewer than two runs, one is given twice, or a file of answers is damaged or of
            other runs.
        OutputError: the file `out` exists already.
        RunError: a folder is not a run, its records cannot be read, or the page cannot be written.
        ConfigError: a recipe is not TOML.
        CorpusError: the recordings `on` do not exist.
    """
    page = None if out is None else path_like(out, culprit="out", expected="a path")
    if page is not None:
        require_writable([page], overwrite=overwrite, instead="file with --out")
    if isinstance(answers, str | os.PathLike):
        answers = [answers]
    read = read_answers([path_like(each, culprit="answers", expected="paths") for each in answers])
    if on is not None and not isinstance(on, str | os.PathLike):
        on = list(on)
    facts = gather(runs, on=on, trained=trained, on_progress=on_progress)
    listening = None
    if read:
        models = {each.measures.model: each.name for each in facts.runs if each.measures is not None}
        listening = results_of(read, models)
    if page is not None:
        tell = None if on_progress is None else partial(on_progress, "")
        versions, problems = versions_of(facts, on, on_progress=tell)
        write_text(page, render(facts, versions, problems, listening))
    return Comparison(facts=facts, listening=listening, page=page)
