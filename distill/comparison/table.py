"""The table of measures of several runs, with paired differences from the first run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from distill.comparison.scales import SCALES, Scale
from distill.comparison.statistics import Interval, bootstrap
from distill.evaluation.results import Metrics


@frozen(kw_only=True)
class Cell:
    """The measure of one run.

    Attributes:
        mean: the mean over the recordings, None if the run has none.
        difference: the mean of the paired differences from the first run, with its interval; None for the
            first run, and without values.
        best: whether the mean is the best of all runs, with the digits that are shown; false if all runs have
            the same.
        better: whether the run is better than the first one, None if the interval has 0 in it, or if the
            difference is 0 with the digits that are shown.
    """

    mean: float | None = None
    difference: Interval | None = None
    best: bool = False
    better: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "mean": self.mean,
            "difference": self.difference and self.difference.to_dict(),
            "best": self.best,
            "better": self.better,
        }


@frozen(kw_only=True)
class Row:
    """A measure of all runs. `count` is the number of recordings for which each measured run has it."""

    scale: Scale
    count: int
    cells: tuple[Cell, ...]


def table_of(measured: Sequence[Mapping[str, Metrics | None] | None]) -> tuple[Row, ...]:
    """Return the table of runs, each given by its metrics by recording, or None if it is not measured.

    The means of a measure are over the recordings for which all runs that are measured have it. Measures
    that no recording has are left out.
    """
    there = [each for each in measured if each is not None]
    keys = [key for key in there[0] if all(key in each for each in there)] if there else []
    rows = (_row(scale, measured, keys) for scale in SCALES.values())
    return tuple(row for row in rows if row.count)


def _row(scale: Scale, measured: Sequence[Mapping[str, Metrics | None] | None], keys: Sequence[str]) -> Row:
    values = [None if each is None else [scale.value(each[key]) for key in keys] for each in measured]
    shared = [
        index
        for index in range(len(keys))
        if not any(math.isnan(each[index]) for each in values if each is not None)
    ]
    kept = [None if each is None else [each[index] for index in shared] for each in values]
    means = [None if not each else math.fsum(each) / len(each) for each in kept]
    # Rounded as they are shown: of equal numbers, none should be marked.
    rounded = [None if mean is None else round(mean, scale.digits) for mean in means]
    distinct = {mean for mean in rounded if mean is not None}
    best = (max if scale.higher else min)(distinct) if len(distinct) > 1 else None
    cells = []
    for number, (mine, mean, shown) in enumerate(zip(kept, means, rounded, strict=True)):
        difference = None
        if number and mine and kept[0]:
            difference = bootstrap([one - other for one, other in zip(mine, kept[0], strict=True)])
        certain = difference is not None and difference.certain and round(difference.mean, scale.digits)
        cells.append(
            Cell(
                mean=mean,
                difference=difference,
                best=shown is not None and shown == best,
                better=(difference.mean > 0) == scale.higher if difference and certain else None,
            )
        )
    return Row(scale=scale, count=len(shared), cells=tuple(cells))
