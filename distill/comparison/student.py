"""Student's t distribution with whole degrees of freedom, without SciPy.

The cumulative distribution is the finite sum of Abramowitz and Stegun, 26.7.3 and 26.7.4.
"""

import math

import numpy as np

_MOST_TERMS = 10_000
"""From so many degrees of freedom on, the normal distribution differs by less than 1e-4 in the quantiles."""

_HALVINGS = 60


def within(angle: float, degrees: int) -> float:
    """Return the probability that |T| is at most sqrt(degrees) * tan(angle), for an angle of 0 to pi/2."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    powers = np.arange(2 + odd, degrees - 1, 2)
    factors = np.cumprod((powers - 1) / powers * cosine**2)
    series = (cosine if odd else 1.0) * (1.0 + float(factors.sum()))
    if not odd:
        return sine * series
    return 2 / math.pi * (angle + (sine * series if degrees > 1 else 0.0))


def t_quantile(level: float, degrees: int) -> float:
    """Return the t for which |T| is at most t with probability `level`, 0 < level < 1.

    Degrees of freedom are at least 1, and those above 10,000 count as 10,000.
    """
    degrees = min(degrees, _MOST_TERMS)
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, degrees) < level else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)
