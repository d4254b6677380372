"""Levels that no recording has, and remarks on unusual ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.corpus.blocks import UnusableError
from distill.audio.corpus.levels import Level, Remark, remark_on

SCALED = (
    "has samples of up to {shown}, and 1 is full scale: they seem to be in the range of {bits}-bit integers "
    "(to divide them for training: corpus.full_scale={full}, or --full-scale of distill shard)"
)
NOISE = np.random.default_rng(0).uniform(-1, 1, (1000, 2)).astype(np.float32)


def level(*blocks):
    """Return the level of blocks."""
    seen = Level()
    for block in blocks:
        seen.see(block)
    return seen


def with_one(value):
    """Return noise with one sample of a value."""
    noise = NOISE.copy()
    noise[500, 1] = value
    return noise


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (
            with_one(-1e25),
            "has samples of up to 1e+25, and 1 is full scale: 1 of its 2,000 samples exceed it",
        ),
        (
            with_one(26_275),
            "has samples of up to 26,275, and 1 is full scale: 1 of its 2,000 samples exceed it",
        ),
        (
            np.float32(1e30) * NOISE / np.abs(NOISE).max(),
            "has samples of up to 1e+30, and 1 is full scale: 2,000 of its 2,000 samples exceed it",
        ),
        *(
            (
                scale * NOISE / np.abs(NOISE).max(),
                SCALED.format(shown=shown, bits=bits, full=full),
            )
            for scale, shown, bits, full in (
                (np.float32(120), "120", 8, 128),
                (np.float32(20000), "20,000", 16, 32768),
                (np.float32(2**23), "8.38861e+06", 24, 8388608),
                (np.float32(2**31), "2.14748e+09", 32, 2147483648),
            )
        ),
    ],
)
def test_impossible_levels(samples, reason):
    """One absurd sample, absurd ones throughout, and floats scaled to integers are told apart."""
    with pytest.raises(UnusableError) as error:
        level(samples[:300], samples[300:]).require_possible()
    assert str(error.value) == reason


@given(st.floats(-100, 100, width=32))
def test_possible_levels(value):
    """Up to 40 dB above full scale, samples are taken as they are."""
    seen = level(NOISE, with_one(value))
    seen.require_usable()
    assert seen.peak == max(abs(value), np.abs(NOISE).max())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    """One sample that is not finite makes a recording unusable."""
    with pytest.raises(UnusableError, match=r"^contains NaN or infinite samples$"):
        level(with_one(value))


@pytest.mark.parametrize(
    ("lowest", "highest", "seconds", "text"),
    [
        (-4, 3, 1, "peaks at +12.0 dB, above full scale"),
        (-1e-8, 1e-8, 1, "peaks at -160.0 dB, too quiet to contribute anything"),
        (0.1, 0.1, 1, "has the same value throughout, 0.1, and contributes no sound"),
        (-0.1, 0.1, 0.005, "lasts 5 ms, too short to contribute much"),
    ],
)
def test_remarks(lowest, highest, seconds, text):
    """What contributes little or exceeds full scale is remarked on; an ordinary recording is not."""
    assert remark_on("a.wav", lowest, highest, seconds) == Remark("a.wav", text)
    assert remark_on("a.wav", -1.2, 0.1, 1) is None
