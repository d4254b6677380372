"""Augmentation: levels and mixtures within their bounds, and nothing at all when both are off."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.augmentation import augment


def seeded(seed=0):
    """Make a generator."""
    return torch.Generator().manual_seed(seed)


def tones(count=200):
    """Make clips that are constant at 0.01, 0.02, ... of full scale."""
    return 0.01 * torch.arange(1.0, count + 1)[:, None].expand(-1, 4) / count


def test_off_changes_nothing():
    """Without gain and mixing the clips come back as they are."""
    assert torch.equal(augment(tones(), gain_db=0, mix=0, generator=seeded()), tones())


def test_levels_spread_evenly_in_decibels():
    """6 dB of gain turn a clip up or down by at most 1.995 (10**0.3), 0 dB on average."""
    decibels = 20 * torch.log10(augment(tones(), gain_db=6, mix=0, generator=seeded()) / tones())[:, 0]
    assert decibels.abs().max() <= 6
    assert decibels.min() < -5
    assert decibels.max() > 5
    assert abs(decibels.mean()) < 1


def test_a_share_of_the_clips_is_mixed_with_the_one_before():
    """With a probability of 0.3 the clip before is added, at most at its own level."""
    clips = tones(2000)
    added = (augment(clips, gain_db=0, mix=0.3, generator=seeded()) - clips)[:, 0]
    mixed = added > 0
    assert math.isclose(mixed.float().mean(), 0.3, abs_tol=0.04)
    shares = (added / clips.roll(1, dims=0)[:, 0])[mixed]
    assert shares.max() <= 1 + 1e-4
    assert math.isclose(shares.mean(), 0.5, abs_tol=0.05)


@given(st.integers(0, 1000), st.floats(0, 40), st.floats(0, 1))
def test_nothing_clips(seed, gain_db, mix):
    """Whatever is asked for, no sample exceeds full scale, and all are finite."""
    clips = torch.rand(4, 16, generator=seeded(seed)) * 2 - 1
    made = augment(clips, gain_db=gain_db, mix=mix, generator=seeded(seed))
    assert made.isfinite().all()
    assert made.abs().max() <= 1 + 1e-6


@given(st.integers(0, 1000), st.integers(1, 5))
def test_rows_get_what_they_get_among_all(seed, first):
    """Some clips, one after the other, come out as they do among all, but for the first of them."""
    clips = tones(6)
    whole, some = seeded(seed), seeded(seed)
    rows = range(first - 1, 6)
    expected = augment(clips, gain_db=6, mix=0.7, generator=whole)[first:]
    made = augment(clips[list(rows)], gain_db=6, mix=0.7, generator=some, rows=rows, of=6)[1:]
    assert torch.equal(made, expected)
    assert torch.equal(whole.get_state(), some.get_state())
