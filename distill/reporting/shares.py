"""The share of each term in the loss and in its gradient, and the cosines between terms. Loads no torch."""

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from distill.loss.components import TOTAL
from distill.reporting.history import History, Series

_MOST = 200


@frozen(kw_only=True, eq=False)
class Shares:
    """The share of each term in the sum of all, by step; sizes are compared, not signs.

    `steps` `[S]` are the ends of stretches over which values are averaged, or those of measurements.
    """

    steps: NDArray[np.int64]
    terms: Mapping[str, NDArray[np.float64]]

    def at_the_end(self) -> dict[str, float]:
        """Return the mean share of each term in the last quarter."""
        first = len(self.steps) - max(1, len(self.steps) // 4)
        return {name: float(np.nan_to_num(values[first:]).mean()) for name, values in self.terms.items()}


def shares_of(history: History, without: Collection[str] = ()) -> Shares | None:
    """Return the shares of a history, or None if it has no terms with weights.

    Terms that are not in every record, such as one that starts late, count as 0 where they are missing.
    Those `without` are left out.
    """
    names = [name for name in history.weights if name in history.train and name not in without]
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


def gradient_shares_of(shares: Mapping[str, Series]) -> Shares | None:
    """Return the recorded shares of the gradient, or None if there are none.

    A term counts as 0 where it is missing. Measurements without any finite share are left out, and of more
    than 200 measurements, 200 are kept.
    """
    if not shares:
        return None
    steps = np.unique(np.concatenate([series.steps for series in shares.values()]))
    terms = {}
    for name, series in shares.items():
        terms[name] = np.zeros(len(steps))
        terms[name][np.searchsorted(steps, series.steps)] = np.nan_to_num(series.values)
    known = np.flatnonzero(np.sum([*terms.values()], axis=0) > 0)
    if not len(known):
        return None
    kept = known[np.linspace(0, len(known) - 1, min(_MOST, len(known))).astype(int)]
    return Shares(steps=steps[kept], terms={name: values[kept] for name, values in terms.items()})


def still_terms(history: History) -> tuple[str, ...]:
    """Return the terms that change nothing in the model: each measured share of their gradients is 0."""
    return tuple(
        name
        for name, outputs in history.gradient_shares.items()
        if name in history.parameter_shares
        and not np.any(outputs.finite)
        and not np.any(history.parameter_shares[name].finite)
    )


def total_that_moves(
    components: Mapping[str, Series], weights: Mapping[str, Series], still: Collection[str]
) -> Series | None:
    """Return the sum of the weighted terms that change the model, or None without a total.

    A term that changes nothing can be most of the total, as `kl` is while the encoder is kept, and hide what
    changes. It is not subtracted: while its weight rises, the mean of its weighted values is unknown.
    """
    total = components.get(TOTAL)
    moving = [name for name in weights if name in components and name not in still]
    if total is None or not moving or not any(name in components for name in still):
        return total
    values = np.zeros(len(total))
    for name in moving:
        value, weight = components[name], weights[name]
        weighted = value.values * np.interp(value.steps, weight.steps, np.nan_to_num(weight.values))
        known = np.isin(value.steps, total.steps)
        values[np.searchsorted(total.steps, value.steps[known])] += weighted[known]
    return Series(steps=total.steps, values=values)


@frozen(kw_only=True, eq=False)
class Cosines:
    """The mean cosines between the gradients of terms, over the last quarter of the measurements.

    `means` `[K, K]` is symmetric with ones on its diagonal, and NaN where two terms were never compared.
    """

    names: tuple[str, ...]
    means: NDArray[np.float64]
    measurements: int

    def with_others(self) -> dict[str, float]:
        """Return the mean cosine of each term with all others, of the terms that have any."""
        apart = self.means.copy()
        np.fill_diagonal(apart, np.nan)
        return {
            name: float(np.nanmean(row))
            for name, row in zip(self.names, apart, strict=True)
            if np.isfinite(row).any()
        }


def cosines_of(history: History) -> Cosines | None:
    """Return the cosines of a history, or None if no two terms were compared."""
    steps = np.unique([step for series in history.cosines.values() for step in series.steps])
    if not len(steps):
        return None
    first = steps[len(steps) - max(1, len(steps) // 4)]
    means = {}
    for pair, series in history.cosines.items():
        late = series.values[(series.steps >= first) & np.isfinite(series.values)]
        if len(late):
            means[pair] = float(late.mean())
    there = {name for pair in means for name in pair}
    names = tuple(name for name in dict.fromkeys((*history.weights, *sorted(there))) if name in there)
    if not names:
        return None
    table = np.eye(len(names))
    for (row, one), (column, other) in combinations(enumerate(names), 2):
        mean = means.get((one, other), means.get((other, one), np.nan))
        table[row, column] = table[column, row] = mean
    return Cosines(names=names, means=table, measurements=int((steps >= first).sum()))
