"""Tests of distill.model.code: levels, shapes, and how many numbers a band gets."""

import itertools
import math

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.config.settings import ModelSettings
from distill.errors import ConfigError
from distill.model.code import BandCode, Levels, allocate, band_count, spread_levels
from distill.spectral.representation import MagnitudeIF

FLOOR = 1e-6
LEVELS = Levels(FLOOR)


def nepers(amplitude):
    """Return the log-magnitude of an amplitude."""
    return math.log(1 + amplitude / FLOOR)


def draw(*shape, seed=0):
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sized(representation, **options):
    """Return the code of these settings."""
    return BandCode.sized(attrs.evolve(ModelSettings(), **options), representation)


@pytest.mark.parametrize(("bins", "bands"), [(9, 1), (33, 1), (34, 2), (129, 4), (1025, 32)])
def test_bands_hold_all_bins_but_the_last(bins, bands):
    """The last bin is half the sample rate: 1024 of 1025 bins are 32 bands of 32."""
    assert band_count(bins) == bands


def test_an_allocation_by_hand():
    """Two bands of 1 kHz are 15.62 and 5.54 ERBs wide: shares of 5.97 and 3.04, dealt out by D'Hondt.

    The quotients of the lower band's second number and of those that follow are 2.98, 1.99, 1.49 and
    1.19, those of the upper band's 1.52 and 1.01.
    """
    assert allocate(2, 2, 1000.0) == (1, 1)
    assert allocate(4, 2, 1000.0) == (3, 1)
    assert allocate(5, 2, 1000.0) == (3, 2)
    assert allocate(6, 2, 1000.0) == (4, 2)
    assert allocate(7, 2, 1000.0) == (5, 2)


@settings(max_examples=50, deadline=None)
@given(numbers=st.integers(0, 700), bands=st.integers(1, 40), hertz=st.floats(10, 5000))
def test_allocations_hold(numbers, bands, hertz):
    """They sum to what there is, favour low bands, and hold 16 at most and, if they can, one at least."""
    counts = allocate(numbers, bands, hertz)
    assert sum(counts) == min(numbers, 16 * bands)
    assert all(low >= high for low, high in itertools.pairwise(counts))
    assert max(counts) <= 16
    assert min(counts) >= (numbers >= bands)


def test_few_numbers_go_to_the_lowest_bands():
    """Each band from the lowest on gets one number, as far as they suffice."""
    assert allocate(3, 5, 700.0) == (1, 1, 1, 0, 0)
    assert allocate(0, 2, 700.0) == (0, 0)


def test_levels_are_those_of_the_rms_amplitude():
    """By hand: half of a band's 256 cells at 0.2 are an RMS amplitude of 0.2 / sqrt(2)."""
    log_magnitude = torch.zeros(1, 64, 16)
    log_magnitude[0, :16, :8] = nepers(0.2)
    log_magnitude[0, 32:, 8:] = nepers(0.003)
    expected = torch.tensor([[[nepers(0.2 / math.sqrt(2)), 0.0], [0.0, nepers(0.003)]]])
    torch.testing.assert_close(LEVELS.measure(log_magnitude), expected, rtol=1e-5, atol=1e-4)


def test_the_total_is_the_rms_over_bands():
    """By hand: amplitudes of 0.3 and 0.4 are 0.5 / sqrt(2) together; silence is 0."""
    levels = torch.tensor([[[nepers(0.3), 0.0], [nepers(0.4), 0.0]]])
    expected = torch.tensor([[nepers(0.5 / math.sqrt(2)), 0.0]])
    torch.testing.assert_close(LEVELS.total(levels), expected)


def test_restored_levels_are_there():
    """Each band has the level that was asked for, its shape is kept, and silence stays silent."""
    log_magnitude = 8 + draw(2, 64, 16)
    log_magnitude[1, :32] = 0
    wanted = torch.tensor([9.0, 4.0]).repeat_interleave(2).reshape(1, 2, 2).expand(2, 2, 2)
    restored = LEVELS.restore(log_magnitude, wanted)
    measured = LEVELS.measure(restored)
    torch.testing.assert_close(measured[0], wanted[0], rtol=0, atol=2e-3)
    torch.testing.assert_close(measured[1, 1], wanted[1, 1], rtol=0, atol=2e-3)
    assert not restored[1, :32].any()
    ratio = LEVELS.amplitude(restored[0]) / LEVELS.amplitude(log_magnitude[0])
    torch.testing.assert_close(ratio[:32, :8], ratio[0, 0].expand(32, 8), rtol=1e-4, atol=0)


def test_a_restored_total_is_there():
    """All cells of a latent frame are scaled alike, however quiet they are."""
    log_magnitude = torch.cat([8 + draw(2, 32, 16), 0.1 * draw(2, 32, 16).abs()], dim=1)
    total = torch.tensor([[9.0, 2.0], [0.5, 0.0]])
    restored = LEVELS.restore_total(log_magnitude, total)
    torch.testing.assert_close(LEVELS.total(LEVELS.measure(restored)), total, rtol=0, atol=0.01)
    ratio = LEVELS.amplitude(restored) / LEVELS.amplitude(log_magnitude)
    torch.testing.assert_close(ratio[0, :, :8], ratio[0, 0, 0].expand(64, 8), rtol=1e-2, atol=0)


def test_the_gradient_of_silence_is_finite():
    """The gradient of the level of silence is finite, unlike that of a square root at 0."""
    log_magnitude = torch.zeros(1, 32, 8, requires_grad=True)
    LEVELS.measure(log_magnitude).sum().backward()
    assert log_magnitude.grad.isfinite().all()


def test_levels_are_spread_over_their_cells():
    """A band's value stands in its 32 bins and its 8 frames."""
    spread = spread_levels(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    assert spread.shape == (1, 64, 16)
    corners = [spread[0, band, frame].item() for band in (31, 32) for frame in (7, 8)]
    assert corners == [1, 2, 3, 4]


def test_a_code_comes_apart_as_it_was_joined():
    """Levels and shapes are what they were; the level alone stands apart."""
    code = BandCode((3, 2, 1), 99)
    levels, shape = 6 + draw(2, 3, 5), draw(2, 6, 5, seed=1)
    level, rest = code.join(LEVELS.total(levels), levels, shape)
    assert (level.shape, rest.shape) == ((2, 1, 5), (2, 9, 5))
    torch.testing.assert_close(code.part(level, rest), (levels, shape), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(code.total(level)[:, 0], LEVELS.total(levels), rtol=1e-5, atol=1e-5)


def test_a_gain_changes_the_level_alone():
    """A sound that is 3 nepers louder has a level of 1 more, and the rest of its code stays."""
    code = BandCode((1, 1), 99)
    levels, shape = 7 + draw(1, 2, 4), draw(1, 2, 4, seed=1)
    total = LEVELS.total(levels)
    level, rest = code.join(total, levels, shape)
    louder, same = code.join(total + 3, levels + 3, shape)
    torch.testing.assert_close(louder, level + 1)
    torch.testing.assert_close(same, rest)


def test_levels_stay_within_what_there_is():
    """Whatever the latents, no level is negative or so high that its amplitude overflows."""
    code = BandCode((1,), 99)
    levels, _ = code.part(torch.tensor([[[-1e4, 1e4]]]), torch.zeros(1, 2, 2))
    assert levels.tolist() == [[[0.0, 16.0]]]


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_shapes_come_back_from_their_grid(counts):
    """The grid holds each band's numbers first, and 0 where a band has none."""
    code = BandCode(tuple(counts), 99)
    shape = draw(2, sum(counts), 3)
    grid = code.unflatten(shape)
    assert grid.shape == (2, len(counts), 3, code.most)
    assert torch.equal(code.flatten(grid), shape)
    start = 0
    for band, count in enumerate(counts):
        assert torch.equal(grid[:, band, :, :count].mT, shape[:, start : start + count])
        assert not grid[:, band, :, count:].any()
        start += count


def test_the_sizes_of_the_codes():
    """By hand: 44.1 kHz at hops of 512 and 8 frames each are 10.77 latent frames a second.

    1400 a second leave 130 numbers for each: a level, 32 levels of bands, 97 of shapes. 128 leave 95 for 8
    of them together, 8 of which are levels.
    """
    rich, compact = (sized(MagnitudeIF(), code=name) for name in ("rich", "compact"))
    assert (sum(rich.counts), rich.size, rich.kept) == (97, 129, 129)
    assert (compact.counts, compact.size, compact.kept) == (rich.counts, 129, 87)
    assert (rich.joint, compact.joint) == (1, 8)
    alone = sized(MagnitudeIF(), code="compact", joint_frames=1)
    assert (alone.counts, alone.kept, alone.joint) == (rich.counts, 10, 1)


@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "joint"),
    [(44100, 2048, 256, 8), (44100, 2048, 1024, 4), (44100, 4096, 2048, 2), (16000, 2048, 512, 2),
     (8000, 2048, 1024, 1)],
)  # fmt: skip
def test_a_latent_frame_lasts_three_quarters_of_a_second_at_most(rate, n_fft, hop, joint):
    """By hand: 8 hops last 0.046, 0.186, 0.372, 0.256 and 1.024 s. One frame is the least, 8 are the most."""
    representation = MagnitudeIF(rate, n_fft=n_fft, hop=hop)
    assert sized(representation, code="compact").joint == joint
    assert sized(representation, code="compact", joint_frames=3).joint == 3


def test_too_few_numbers_are_refused():
    """Fewer numbers per latent frame than its levels and one more are refused."""
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    for joint, least in ((1, 32), (8, 18)):
        assert sized(representation, latents_per_second=least, joint_frames=joint).kept == 1
        with pytest.raises(ConfigError) as caught:
            sized(representation, latents_per_second=least - 1, joint_frames=joint)
        assert str(caught.value) == (
            f"model.latents_per_second: must be at least {least} with this representation, got {least - 1}"
        )
