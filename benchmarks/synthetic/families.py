"""Families of sounds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .curves import Sound


class Family(NamedTuple):
    """A kind of sound.

    Args:
        make: maps a random generator, N and the sample rate in Hz to a sound [N] of any level.
        weight: the relative frequency of the family.
        shortest: the minimum length in seconds.
        longest: the maximum length in seconds.
    """

    make: Callable[[np.random.Generator, int, int], Sound]
    weight: float
    shortest: float
    longest: float
