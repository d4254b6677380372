"""Schedules: the weight of a term as a function of the progress of a training run.

A schedule is piecewise linear through `(progress, factor)` points: for example a warm-up
`((0, 0), (0.3, 1))`, a late start `((0.5, 0), (0.5, 1))`, a fade-out `((0.8, 1), (1, 0))`.
"""

import math
from itertools import pairwise
from typing import Any

import attrs

Points = tuple[tuple[float, float], ...]


def factor_at(points: Points, progress: float) -> float:
    """Return the factor at a progress of 0..1: linear between the points, constant outside them.

    Without points the factor is 1. If two points have the same progress, the factor jumps to that of the
    later point.
    """
    if not points:
        return 1.0
    factor = points[0][1]
    for (start, before), (end, after) in pairwise(points):
        if progress < start:
            break
        fraction = 1.0 if progress >= end else (progress - start) / (end - start)
        factor = before + fraction * (after - before)
    return factor


def rising_points(_: object, attribute: "attrs.Attribute[Any]", points: Points) -> None:
    """Validate a schedule: progress within 0..1 and not decreasing, factors not negative."""
    progress = [point[0] for point in points]
    if any(not 0 <= p <= 1 for p in progress) or progress != sorted(progress):
        msg = f"'{attribute.name}' must have progress values that rise within 0..1: {points!r}"
        raise ValueError(msg)
    if any(not 0 <= factor < math.inf for _, factor in points):
        msg = f"'{attribute.name}' must not have negative or infinite factors: {points!r}"
        raise ValueError(msg)
