"""What the tests of measures have in common."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def pair():
    """Return a sound of four decaying tones and noise, and one of two of these, quieter and noisier."""
    rate = 44_100
    random = np.random.default_rng(0)
    time = np.arange(rate) / rate
    tones = [np.sin(2 * np.pi * pitch * time) for pitch in (220, 550, 1310, 3700)]
    original = 0.2 * sum(tones) * np.exp(-3 * time) + random.normal(0, 0.002, rate)
    made = 0.14 * sum(tones[::2]) * np.exp(-3 * time) + random.normal(0, 0.005, rate)
    return tuple(torch.from_numpy(sound.astype(np.float32)) for sound in (made, original))
