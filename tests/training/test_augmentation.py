"""Augmentation: speeds, levels and mixtures within their bounds, and nothing at all when all are off."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.training.augmentation import augment, drawn_samples


def seeded(seed=0):
    """Make a generator."""
    return torch.Generator().manual_seed(seed)


def tones(count=200):
    """Make clips that are constant at 0.01, 0.02, ... of full scale."""
    return 0.01 * torch.arange(1.0, count + 1)[:, None].expand(-1, 4) / count


def test_off_changes_nothing():
    """Without speed, gain and mixing the clips come back as they are."""
    assert torch.equal(augment(tones(), 4, speed=0, gain_db=0, mix=0, generator=seeded()), tones())


def test_levels_spread_evenly_in_decibels():
    """A gain of 6 dB scales a clip by at most 1.995 (10**0.3) up or down, by 0 dB on average."""
    decibels = (
        20 * torch.log10(augment(tones(), 4, speed=0, gain_db=6, mix=0, generator=seeded()) / tones())[:, 0]
    )
    assert decibels.abs().max() <= 6
    assert decibels.min() < -5
    assert decibels.max() > 5
    assert abs(decibels.mean()) < 1


def test_a_share_of_the_clips_is_mixed_with_the_one_before():
    """With a probability of 0.3 the clip before is added, at most at its own level."""
    clips = tones(2000)
    added = (augment(clips, 4, speed=0, gain_db=0, mix=0.3, generator=seeded()) - clips)[:, 0]
    mixed = added > 0
    assert math.isclose(mixed.float().mean(), 0.3, abs_tol=0.04)
    shares = (added / clips.roll(1, dims=0)[:, 0])[mixed]
    assert shares.max() <= 1 + 1e-4
    assert math.isclose(shares.mean(), 0.5, abs_tol=0.05)


@given(st.integers(0, 1000), st.floats(0, 40), st.floats(0, 1))
def test_nothing_clips(seed, gain_db, mix):
    """Whatever is asked for, no sample exceeds full scale, and all are finite."""
    clips = torch.rand(4, 16, generator=seeded(seed)) * 2 - 1
    made = augment(clips, 16, speed=0, gain_db=gain_db, mix=mix, generator=seeded(seed))
    assert made.isfinite().all()
    assert made.abs().max() <= 1 + 1e-6


@given(st.integers(0, 1000), st.integers(1, 5))
def test_rows_get_what_they_get_among_all(seed, first):
    """Some clips, one after the other, come out as they do among all, but for the first of them."""
    clips = torch.rand(6, drawn_samples(16, 0.4), generator=seeded())
    whole, some = seeded(seed), seeded(seed)
    rows = range(first - 1, 6)
    options = {"speed": 0.4, "gain_db": 6, "mix": 0.7}
    expected = augment(clips, 16, **options, generator=whole)[first:]
    made = augment(clips[list(rows)], 16, **options, generator=some, rows=rows, of=6)[1:]
    assert torch.equal(made, expected)
    assert torch.equal(whole.get_state(), some.get_state())


def test_speeds_spread_evenly_in_octaves():
    """A tone of bin 100 is found between 67 and 150, as often above 100 as below, and as loud as it was."""
    turns = torch.arange(drawn_samples(1000, 0.5)) * (100 / 1000)
    clips = (0.5 * torch.sin(2 * math.pi * turns)).expand(300, -1)
    made = augment(clips, 1000, speed=0.5, gain_db=0, mix=0, generator=seeded())
    assert made.shape == (300, 1000)
    bins = torch.fft.rfft(made * torch.hann_window(1000)).abs().argmax(dim=1)
    assert bins.min() in range(66, 70)
    assert bins.max() in range(146, 151)
    assert math.isclose((bins > 100).float().mean(), 0.5, abs_tol=0.1)
    loudness = made[:, 400:600].square().mean(dim=1).sqrt()
    assert torch.allclose(loudness, torch.tensor(0.5 / math.sqrt(2)), atol=0.02)


def test_a_faster_clip_reaches_as_high_as_its_original():
    """White noise stays white up to the last bin: no filter takes the uppermost ones away."""
    noise = 0.1 * torch.randn(200, drawn_samples(512, 0.5), generator=seeded())
    made = augment(noise, 512, speed=0.5, gain_db=0, mix=0, generator=seeded())
    # Slower ones have nothing to fill their uppermost bins, and keep all their energy.
    faster = made[made.std(dim=1) < 0.092]
    assert len(faster) > 20
    energy = torch.fft.rfft(faster).abs().square().mean(dim=0)
    assert math.isclose(energy[240:256].mean() / energy[100:200].mean(), 1, rel_tol=0.2)
