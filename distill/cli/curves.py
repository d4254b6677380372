"""Curves of values in a line of text: their history in bounded memory, and sparklines. Loads no torch."""

import math
from collections.abc import Sequence
from itertools import pairwise

_MOST = 128
"""The most means that are kept of a curve."""

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_WIDE = 20
"""The ratio of the largest to the smallest value from which a curve is drawn on a logarithmic scale."""


class Curve:
    """The history of a value, as means over stretches of equal length, at most 128.

    When there are more, every two become one. Values that are not finite are left out.
    """

    def __init__(self) -> None:
        self.latest = math.nan
        self._means: list[float] = []
        self._length, self._sum, self._count = 1, 0.0, 0

    def add(self, value: float) -> None:
        """Add a value."""
        self.latest = value
        if not math.isfinite(value):
            return
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self._length:
            return
        self._means.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self._means) == _MOST:
            self._means = [(a + b) / 2 for a, b in zip(self._means[::2], self._means[1::2], strict=True)]
            self._length *= 2

    def values(self, most: int) -> list[float]:
        """Return the history as at most so many means."""
        means = self._means if self._means or not self._count else [self._sum / self._count]
        count = min(most, len(means))
        edges = [len(means) * number // count for number in range(count + 1)] if count else []
        return [math.fsum(means[a:b]) / (b - a) for a, b in pairwise(edges)]


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Return a letter for each value, from the least to the greatest.

    The scale is logarithmic if all values are above 0 and the greatest is more than 20 times the least.
    """
    if not values:
        return ""
    if min(values) > 0 and max(values) > _WIDE * min(values):
        values = [math.log(value) for value in values]
    least, span = min(values), max(values) - min(values)
    letters = _ASCII if ascii_only else _BLOCKS
    top = len(letters) - 1
    return "".join(letters[round(top * (value - least) / span)] if span else letters[0] for value in values)
