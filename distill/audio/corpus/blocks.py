"""Blocks of samples, and the reason why a recording cannot be used."""

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]
"""Samples `[N, C]`: N per channel, C channels."""


class UnusableError(Exception):
    """A recording that cannot be used; the message is the reason."""
