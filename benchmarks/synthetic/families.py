"""What a family of sounds is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .curves import Sound


class Family(NamedTuple):
    """A kind of sound.

    Args:
        make: Returns a sound of any level, given a source of randomness, N and a sample rate in Hz.
        weight: How often it comes, relative to the others.
        shortest: In seconds.
        longest: In seconds.
    """

    make: Callable[[np.random.Generator, int, int], Sound]
    weight: float
    shortest: float
    longest: float
