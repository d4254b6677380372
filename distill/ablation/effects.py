"""Differences of the variants of an ablation from the reference, with intervals. Loads no torch.

Shapes: `S` seeds, `F` recordings.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from distill.ablation.measures import MEASURES
from distill.comparison.scales import Scale
from distill.comparison.statistics import Interval, bootstrap

RATE = 0.05
"""The probability that any of the differences is called larger than chance by chance."""

_RESAMPLES = 20_000
"""For a hundred comparisons, 20 resamples are beyond the bounds that 0.05 / 100 sets."""

Values = Mapping[int, Mapping[str, Mapping[str, float]]]
"""The values of a variant by seed, by recording, and by measure."""


@frozen(kw_only=True)
class Effect:
    """The difference of a variant from the reference in one measure.

    Attributes:
        variant: the name of the variant.
        measure: the name of the measure.
        reference: the mean of the reference.
        difference: the mean of the variant less that of the reference, with its 95 % interval over seeds and
            recordings. NaN if no recording has this measure.
        worse: whether the variant is worse than the reference, None if they are equal or unknown.
        beyond_chance: whether the difference is larger than chance, corrected for all comparisons.
        seeds: the number of seeds that both were trained with.
        recordings: the number of recordings with this measure.
    """

    variant: str
    measure: str
    reference: float
    difference: Interval
    worse: bool | None
    beyond_chance: bool
    seeds: int
    recordings: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with None where a number is not finite."""
        numbers = {
            "reference": self.reference,
            "difference": self.difference.mean,
            "low": self.difference.low,
            "high": self.difference.high,
        }
        return {
            "variant": self.variant,
            "measure": self.measure,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "better": MEASURES[self.measure].better,
            "worse": self.worse,
            "beyond_chance": self.beyond_chance,
            "seeds": self.seeds,
            "recordings": self.recordings,
        }


def effects(values: Mapping[str, Values], reference: str) -> tuple[Effect, ...]:
    """Return the effects of all variants but the reference on all measures that some recording has.

    Differences are paired by seed and recording. Those that are larger than chance are found by the method of
    Holm (1979): with `m` comparisons, of which `k` are found already, a difference counts if its interval of
    the probability `1 - 0.05 / (m - k)` excludes 0.
    """
    tables: dict[tuple[str, str], NDArray[np.float64]] = {}
    befores: dict[tuple[str, str], float] = {}
    for variant in values:
        if variant == reference:
            continue
        for name in MEASURES:
            pair = _paired(values[variant], values[reference], name)
            if np.isfinite(pair[0] - pair[1]).any():
                tables[variant, name] = pair[0] - pair[1]
                befores[variant, name] = float(np.nanmean(pair[1]))
    found = beyond_chance(list(tables.values()))
    return tuple(
        _effect(key, table, befores[key], beyond=beyond)
        for (key, table), beyond in zip(tables.items(), found, strict=True)
    )


def _effect(key: tuple[str, str], table: NDArray[np.float64], before: float, *, beyond: bool) -> Effect:
    variant, name = key
    interval = bootstrap(table, resamples=_RESAMPLES)
    there = np.isfinite(table)
    return Effect(
        variant=variant,
        measure=name,
        reference=before,
        difference=interval,
        worse=_worse(MEASURES[name], interval.mean),
        beyond_chance=beyond,
        seeds=int(there.any(axis=1).sum()),
        recordings=int(there.any(axis=0).sum()),
    )


def _worse(measure: Scale, difference: float) -> bool | None:
    if difference == 0 or math.isnan(difference):
        return None
    return (difference > 0) == (measure.better == "lower")


def _paired(one: Values, two: Values, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values `[S, F]` of two variants, of the seeds and recordings that both have."""
    seeds = [seed for seed in two if seed in one]
    recordings = sorted({name for seed in seeds for name in {*one[seed]} & {*two[seed]}})
    tables = [
        [[values[seed].get(name, {}).get(measure, math.nan) for name in recordings] for seed in seeds]
        for values in (one, two)
    ]
    shape = (len(seeds), len(recordings))
    return np.array(tables[0], float).reshape(shape), np.array(tables[1], float).reshape(shape)


def beyond_chance(tables: Sequence[NDArray[np.float64]]) -> list[bool]:
    """Return which means of differences `[S, F]` are larger than chance, by the method of Holm (1979)."""
    found = [False] * len(tables)
    while not all(found):
        level = 1 - RATE / (len(tables) - sum(found))
        new = [
            not known and bootstrap(table, level=level, resamples=_RESAMPLES).certain
            for known, table in zip(found, tables, strict=True)
        ]
        if not any(new):
            break
        found = [known or now for known, now in zip(found, new, strict=True)]
    return found
