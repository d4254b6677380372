"""The result of a search: as values, as text for a terminal, and as plain data. Loads no torch."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.ablation.measures import MEASURES
from distill.ablation.studies import Trial, ranked
from distill.config.words import show
from distill.errors import printable

_SHOWN = 10
_WIDTH = 79


@frozen(kw_only=True)
class Search:
    """The result of a search. `str()` returns it as text.

    Attributes:
        folder: the folder with all runs.
        measure: the name of the measure that was improved.
        trials: all trials, in the order in which they were made. Their values are means over seeds.
        failed: the messages of the runs that have failed, by name.
        recipe: the file with the recipe of the best trial, None if no trial has a value.
    """

    folder: Path
    measure: str
    trials: tuple[Trial, ...]
    failed: Mapping[str, str]
    recipe: Path | None

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """The trials that have a value, the best first."""
        return tuple(ranked(self.trials, MEASURES[self.measure].better))

    def __str__(self) -> str:
        measure, ranking = MEASURES[self.measure], self.ranking
        if not ranking:
            return "No trial has a value."
        lines = [f"{'trial':>5}  {measure.head:>10}  options, {measure.better} is better"]
        for each in ranking[:_SHOWN]:
            options = ", ".join(
                f"{address}={f'{value:.4g}' if isinstance(value, float) else show(value)}"
                for address, value in each.options.items()
            )
            lines += textwrap.wrap(
                f"{each.number:5}  {each.value:10.4f}  {printable(options)}",
                _WIDTH,
                subsequent_indent=" " * 19,
            )
        if len(ranking) > _SHOWN:
            lines.append(f"and {len(ranking) - _SHOWN} more, in {printable(self.folder / 'ablation.json')}")
        note = (
            f"The best of {len(ranking)} looks better than it is, since it was chosen by this number: "
            "measure it on recordings that the search has not seen."
        )
        return "\n".join([*lines, textwrap.fill(note, _WIDTH)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as in `ablation.json`."""
        return {
            "measure": self.measure,
            "better": MEASURES[self.measure].better,
            "trials": [
                {
                    "number": each.number,
                    "state": each.state,
                    "value": each.value,
                    "options": dict(each.options),
                }
                for each in self.trials
            ],
            "failed": dict(self.failed),
        }
