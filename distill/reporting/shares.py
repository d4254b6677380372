"""The share of each term in the loss while training. Loads no torch."""

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from distill.reporting.history import History

_MOST = 200


@frozen(kw_only=True, eq=False)
class Shares:
    """The share of each term's weighted value in the sum of all, by step; sizes are compared, not signs.

    `steps` `[S]` are the ends of stretches over which values are averaged.
    """

    steps: NDArray[np.int64]
    terms: Mapping[str, NDArray[np.float64]]

    def at_the_end(self) -> dict[str, float]:
        """Return the mean share of each term in the last quarter."""
        first = len(self.steps) - max(1, len(self.steps) // 4)
        return {name: float(np.nan_to_num(values[first:]).mean()) for name, values in self.terms.items()}


def shares_of(history: History) -> Shares | None:
    """Return the shares of a history, or None if it has no terms with weights.

    Terms that are not in every record, such as one that starts late, count as 0 where they are missing.
    """
    names = [name for name in history.weights if name in history.train]
    if not names:
        return None
    steps = np.unique(np.concatenate([history.train[name].steps for name in names]))
    sizes = {}
    for name in names:
        size = np.zeros(len(steps))
        value, weight = history.train[name], history.weights[name]
        places = np.searchsorted(steps, value.steps)
        weights = np.interp(value.steps, weight.steps, np.nan_to_num(weight.values))
        size[places] = np.abs(np.nan_to_num(value.values * weights))
        sizes[name] = size
    edges = np.linspace(0, len(steps), min(_MOST, len(steps)) + 1).astype(int)
    means = {name: np.add.reduceat(size, edges[:-1]) for name, size in sizes.items()}
    whole = np.sum([*means.values()], axis=0)
    whole[whole == 0] = np.nan
    return Shares(steps=steps[edges[1:] - 1], terms={name: mean / whole for name, mean in means.items()})
