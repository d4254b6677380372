"""Bootstrap intervals of paired differences. Loads no torch.

Shapes: `S` seeds, `F` files, `R` resamples.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from distill.comparison.student import t_quantile
from distill.errors import InvalidValueError

_FEWEST = 100
_AT_A_TIME, _MOST_DRAWN = 1000, 2**20
"""So many resamples are weighed at a time, of at most so many files in all, so that memory has a bound."""


@frozen
class Interval:
    """A mean and its interval, 95 % unless said otherwise.

    Without values, the mean is NaN. A mean of a single value has the interval from -inf to inf: one value
    says nothing about its spread.
    """

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0, so that a difference counts as one."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with None where a number is not finite."""
        numbers = {"mean": self.mean, "low": self.low, "high": self.high}
        told: dict[str, Any] = {
            name: value if math.isfinite(value) else None for name, value in numbers.items()
        }
        return {**told, "certain": self.certain}


def bootstrap(
    differences: ArrayLike, *, seed: int = 0, level: float = 0.95, resamples: int = 10_000
) -> Interval:
    """Return the mean of paired differences and its bootstrap interval.

    Each resample draws seeds with replacement and files with replacement, and takes the mean over the files
    drawn of the seeds drawn. The percentiles of these means are too near the mean if there are few values
    (Hesterberg, 2015, "What Teachers Should Know About the Bootstrap", section 5): their distances from it
    are multiplied by `t / z * sqrt(n / (n - 1))`, with quantiles of Student's t distribution with `n - 1`
    degrees of freedom and of the normal distribution. With seeds and files, the degrees of freedom are
    those of Satterthwaite (1946) for the sum of both variances, rounded down: 2 if all that differs between
    three seeds is the seed.

    Args:
        differences: `[S, F]`, or `[F]` for a single seed. A difference that is not defined is NaN, and left
            out.
        seed: the random seed of the resamples.
        level: the probability of the interval.
        resamples: R, at least 100.

    Raises:
        InvalidValueError: the differences are not numbers `[F]` or `[S, F]`, or are infinite; or another
            argument is out of bounds.
    """
    table = _table(differences)
    if not 0 < level < 1:
        raise InvalidValueError(f"must be above 0 and below 1, got {level}", culprit="level")
    if resamples < _FEWEST:
        raise InvalidValueError(f"must be at least {_FEWEST}, got {resamples}", culprit="resamples")
    there = np.isfinite(table)
    if not there.any():
        return Interval(math.nan, -math.inf, math.inf)
    mean = float(table[there].mean())
    if there.sum() == 1:
        return Interval(mean, -math.inf, math.inf)
    degrees = _degrees(table)
    if degrees is None:  # all values are equal
        return Interval(mean, mean, mean)
    means = _resampled_means(np.where(there, table, 0.0), there, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    normal = NormalDist().inv_cdf((1 + level) / 2)
    stretch = t_quantile(level, degrees) / normal * math.sqrt((degrees + 1) / degrees)
    return Interval(mean, mean + stretch * float(low - mean), mean + stretch * float(high - mean))


def _table(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the differences `[S, F]` without the seeds and files that have none."""
    try:
        table = np.atleast_2d(np.asarray(differences, np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidValueError("expected numbers [F] or [S, F]", culprit="differences") from error
    if table.ndim != 2:
        raise InvalidValueError(
            f"expected numbers [F] or [S, F], got the shape {list(table.shape)}", culprit="differences"
        )
    if np.isinf(table).any():
        raise InvalidValueError("expected numbers that are finite, or NaN", culprit="differences")
    there = np.isfinite(table)
    return table[there.any(axis=1)][:, there.any(axis=0)]


def _degrees(table: NDArray[np.float64]) -> int | None:
    """Return the degrees of freedom of the mean of `[S, F]`, or None if it has no variance."""
    variances, weights = [], []
    for axis in (0, 1):
        means, count = np.nanmean(table, axis=1 - axis), table.shape[axis]
        if count > 1:
            variances.append(float(np.var(means, ddof=1)) / count)
            weights.append(count - 1)
    whole = sum(variances)
    largest = float(np.nanmax(np.abs(table)))
    if whole <= (1e-12 * largest) ** 2:  # what rounding leaves of equal values
        return None
    return max(1, math.floor(whole**2 / sum(v**2 / n for v, n in zip(variances, weights, strict=True))))


def _resampled_means(
    values: NDArray[np.float64], there: NDArray[np.bool_], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Return the means of resamples `[R]` of `values` `[S, F]`, which are 0 where they are not `there`.

    A resample in which nothing is there has no mean, and is left out.
    """
    seeds, files = values.shape
    means: list[NDArray[np.float64]] = []
    at_a_time = max(1, min(_AT_A_TIME, _MOST_DRAWN // files))
    for start in range(0, resamples, at_a_time):
        count = min(at_a_time, resamples - start)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=count)
        of_files = generator.multinomial(files, np.full(files, 1 / files), size=count)
        sums = np.einsum("rs,sf,rf->r", of_seeds, values, of_files, optimize=True)
        counts = np.einsum("rs,sf,rf->r", of_seeds, there.astype(np.float64), of_files, optimize=True)
        means.append(sums[counts > 0] / counts[counts > 0])
    return np.concatenate(means)


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the mean of values `[N]` and its interval by Student's t distribution."""
    numbers = np.asarray(values, np.float64)
    if numbers.size < 2:
        return Interval(float(numbers.mean()) if numbers.size else math.nan, -math.inf, math.inf)
    mean, spread = float(numbers.mean()), float(numbers.std(ddof=1))
    reach = t_quantile(level, numbers.size - 1) * spread / math.sqrt(numbers.size)
    return Interval(mean, mean - reach, mean + reach)
