"""The history of a training run: its records as one series per component. Loads no torch."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from distill.storage.metrics import read_metrics
from distill.storage.run import Run

Name = TypeVar("Name", str, tuple[str, str])


@frozen(kw_only=True, eq=False)
class Series:
    """The values of a component by step. A value that was not finite is NaN."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> NDArray[np.float64]:
        """The values that are finite."""
        return self.values[np.isfinite(self.values)]

    def last(self, share: float) -> "Series":
        """Return the last part of the series, at least one value."""
        first = min(len(self) - 1, math.floor(len(self) * (1 - share)))
        return Series(steps=self.steps[first:], values=self.values[first:])

    def thinned(self, most: int) -> "Series":
        """Return a series of at most `most` values with the same extremes.

        Each of `most / 2` stretches of equal length is replaced by its least and its greatest value, in
        order, so that a single outlier remains visible.
        """
        if len(self) <= most:
            return self
        edges = np.linspace(0, len(self), most // 2 + 1).astype(int)
        kept: list[int] = []
        for start, end in pairwise(edges):
            part = self.values[start:end]
            if np.isfinite(part).any():
                kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
            else:
                kept.append(start)
        return Series(steps=self.steps[kept], values=self.values[kept])


@frozen(kw_only=True)
class History:
    """The records of a run: the components of each split and the weights of the terms, as series.

    Attributes:
        records: the number of records.
        damaged: the numbers of the lines that hold no record.
        step: the last step.
        seconds: the training time.
        progress: the fraction of the training that is done, 0..1.
        train: components of the split `train` by name, means over the steps since the last record.
        heldout: components of the held-out recordings by name.
        weights: the weight of each term while training.
        heldout_weights: the weight of each term in held-out totals, that of the end of the training.
        learning_rate: the learning rate, None if it is not recorded.
        gradient_shares: each term's share of the gradient at the decoder's output.
        parameter_shares: each term's share of the gradient of the model's weights.
        cosines: the cosine between the gradients of two terms, by their names.
    """

    records: int = 0
    damaged: tuple[int, ...] = ()
    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    train: Mapping[str, Series] = field(factory=dict)
    heldout: Mapping[str, Series] = field(factory=dict)
    weights: Mapping[str, Series] = field(factory=dict)
    heldout_weights: Mapping[str, Series] = field(factory=dict)
    learning_rate: Series | None = None
    gradient_shares: Mapping[str, Series] = field(factory=dict)
    parameter_shares: Mapping[str, Series] = field(factory=dict)
    cosines: Mapping[tuple[str, str], Series] = field(factory=dict)

    @classmethod
    def read(cls, run: Run) -> "History":
        """Read the records of a run. A run without records has an empty history.

        A last line that was cut short does not count, and neither does what is not a number: the file may be
        of another version. Records are sorted by step.

        Raises:
            RunError: the file cannot be read.
        """
        metrics = read_metrics(run.metrics)
        records = sorted(metrics.records, key=itemgetter("step"))
        last = records[-1] if records else {}
        train = [each for each in records if each.get("split") == "train"]
        heldout = [each for each in records if each.get("split") == "heldout"]
        measured = [
            {"step": each["step"], **gradients}
            for each in train
            if isinstance(gradients := each.get("gradients"), Mapping)
        ]
        return cls(
            records=len(records),
            damaged=metrics.damaged,
            step=int(last.get("step", 0)),
            seconds=_number(last.get("seconds")) or 0.0,
            progress=_number(last.get("progress")) or 0.0,
            train=_series(_named(train, "components")),
            heldout=_series(_named(heldout, "components")),
            weights=_series(_named(train, "weights")),
            heldout_weights=_series(_named(heldout, "weights")),
            learning_rate=_series((each["step"], "rate", each.get("learning_rate")) for each in train).get(
                "rate"
            ),
            gradient_shares=_series(_named(measured, "shares")),
            parameter_shares=_series(_named(measured, "parameter_shares")),
            cosines=_series(_pairs(measured)),
        )


def _named(records: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[int, str, Any]]:
    for record in records:
        values = record.get(key)
        if isinstance(values, Mapping):
            yield from ((record["step"], name, value) for name, value in values.items())


def _pairs(measured: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, tuple[str, str], Any]]:
    for step, one, others in _named(measured, "cosines"):
        if isinstance(others, Mapping):
            yield from ((step, (one, other), value) for other, value in others.items())


def _series(values: Iterable[tuple[int, Name, Any]]) -> dict[Name, Series]:
    """Return a series per name. What is neither a number nor null is left out."""
    steps: dict[Name, list[int]] = defaultdict(list)
    numbers: dict[Name, list[float]] = defaultdict(list)
    for step, name, value in values:
        number = math.nan if value is None else _number(value)
        if number is not None and step < 2**63:
            steps[name].append(step)
            numbers[name].append(number)
    series = {
        name: Series(steps=np.array(steps[name], np.int64), values=np.array(numbers[name], np.float64))
        for name in steps
    }
    return {name: one for name, one in series.items() if len(one.finite)}


def _number(value: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
