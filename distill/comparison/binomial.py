"""The exact binomial test of chance, and the Clopper-Pearson interval. Loads no torch."""

import math

_HALVINGS = 60


def chance_of(right: int, trials: int) -> float:
    """Return the probability of `right` answers or more out of `trials` by guessing, 0.5 each (one-sided)."""
    return sum(math.comb(trials, count) for count in range(right, trials + 1)) / 2**trials


def clopper_pearson(right: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the share of right answers (Clopper and Pearson, 1934), both ends included."""
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else _share(right, trials, tail)
    high = 1.0 if right == trials else 1 - _share(trials - right, trials, tail)
    return low, high


def _share(right: int, trials: int, wanted: float) -> float:
    """Return the share with which `right` successes or more, at least 1, have a probability."""
    counts = range(right, trials + 1)
    ways = [math.log(math.comb(trials, count)) for count in counts]
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        one, other = math.log(middle), math.log1p(-middle)
        probability = math.fsum(
            math.exp(way + count * one + (trials - count) * other)
            for way, count in zip(ways, counts, strict=True)
        )
        low, high = (middle, high) if probability < wanted else (low, middle)
    return (low + high) / 2
