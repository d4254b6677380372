"""Tests of distill.model.phases: noise that sounds like noise, and phases that fit together."""

import math

import pytest
import torch

from distill.model.phases import (
    draw_noise,
    roughened,
    sharpened,
    white_noise,
    with_phases,
    with_phases_of,
)
from distill.spectral.representation import MagnitudeIF

REPRESENTATION = MagnitudeIF(8000, n_fft=256, hop=64)
UNIT = math.log1p(1 / REPRESENTATION.floor)
MEDIAN = 0.5 * math.log(math.log(2))
"""Of a log-Rayleigh variable: the power is exponential, whose median is log(2)."""

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def noise():
    """Draw noise of two seconds in two rows, and leave out the frames at its ends."""
    return white_noise(REPRESENTATION, 2, 16_000, CPU)[..., 4:-4]


def energy(log_magnitude):
    """Return the mean power in dB."""
    return 10 * REPRESENTATION.amplitude(log_magnitude).square().mean().log10().item()


def test_noise_has_unit_power_in_each_bin(noise):
    """The power is 1 within 0.1 dB over all cells, and no bin has another power than the others."""
    power = REPRESENTATION.amplitude(noise[:, 0]).square()
    assert abs(10 * power.mean().log10()) < 0.1
    assert (power.mean((0, 2)) - 1).abs().max() < 0.4


def test_noise_fluctuates_as_a_log_rayleigh_variable(noise):
    """Noise has a Rayleigh variable's log-median, mean deviation from it, and deviation of 5.57 dB."""
    nepers = noise[:, 0] - UNIT
    assert nepers.median() == pytest.approx(MEDIAN, abs=0.02)
    assert (nepers - MEDIAN).abs().mean() == pytest.approx(0.4843, abs=0.01)
    assert nepers.std() == pytest.approx(math.pi / math.sqrt(24), abs=0.02)


def test_noise_is_always_the_same():
    """Noise is the same in every call and row, so that equal channels stay equal."""
    one, two = (white_noise(REPRESENTATION, rows, 2000, CPU) for rows in (1, 2))
    torch.testing.assert_close(one[0], two[0], rtol=0, atol=1e-5)
    assert torch.equal(two, white_noise(REPRESENTATION, 2, 2000, CPU))
    assert torch.equal(two[0], two[1])


def test_rows_that_are_drawn_have_nothing_in_common():
    """They are the same however many there are, and the first is that of `white_noise`."""
    drawn = draw_noise(REPRESENTATION, 3, 16_000)
    correlations = torch.corrcoef(drawn)
    assert (correlations - torch.eye(3)).abs().max() < 4 / 16_000**0.5
    assert torch.equal(drawn[:2], draw_noise(REPRESENTATION, 2, 16_000))
    assert torch.equal(REPRESENTATION(drawn[:1]), white_noise(REPRESENTATION, 1, 16_000, CPU))


@pytest.mark.parametrize("slope", [0.0, -4.0])
def test_roughened_noise_has_its_level(noise, slope):
    """The best guess of noise is its median, 1.6 dB too quiet: made rough it is 0.3 dB off at most."""
    log_magnitude = noise[:, 0]
    level = 8 + torch.linspace(0, slope, log_magnitude.shape[1])[:, None]
    guess = (level + MEDIAN).expand_as(log_magnitude)
    target = energy(level.expand_as(log_magnitude))
    assert target - energy(guess) == pytest.approx(-20 * MEDIAN / math.log(10), abs=0.05)
    rough = roughened(guess, torch.full_like(guess, 0.4843), log_magnitude, UNIT)
    assert energy(rough) == pytest.approx(target, abs=0.3)
    texture = 20 / math.log(10) * (rough - level).std().item()
    assert texture == pytest.approx(5.57, abs=0.15)


@pytest.mark.parametrize("spread", [0.0, 0.29, 0.76, 1.0])
def test_tones_are_left_as_they_are(noise, spread):
    """Nothing is added where the error is that of a tone, or of one whose place is not known."""
    log_magnitude = torch.full_like(noise[:, 0], 8.0)
    rough = roughened(log_magnitude, torch.full_like(log_magnitude, spread), noise[:, 0], UNIT)
    assert torch.equal(rough, log_magnitude)


def test_a_part_of_the_noise_is_added_in_between(noise):
    """Half of the noise is added at an error of 0.65, halfway from 0.55 to 0.75."""
    log_magnitude = torch.full_like(noise[:, 0], 20.0)
    all_of_it, half = (
        roughened(log_magnitude, torch.full_like(log_magnitude, spread), noise[:, 0], UNIT)
        for spread in (0.5, 0.65)
    )
    torch.testing.assert_close(half - 20, 0.5 * (all_of_it - 20), rtol=1e-3, atol=1e-4)


def test_a_contrast_scales_differences_from_33_bins():
    """A peak of 4.3 in a plain of 1, where the mean is 1.1, is 3.2 above it, and 6.4 with a contrast of 2."""
    plain = torch.ones(1, 100, 2)
    plain[0, 50] = 1 + 3.3
    made = sharpened(plain, 2.0)
    assert made[0, 50].tolist() == pytest.approx([1.1 + 2 * 3.2] * 2)
    assert made[0, 66].tolist() == pytest.approx([0.9] * 2)  # as far as the mean reaches
    assert made[0, 67].tolist() == pytest.approx([1.0] * 2)
    assert made[0, 0].tolist() == made[0, 99].tolist() == pytest.approx([1.0] * 2)  # the ends are repeated
    assert torch.equal(sharpened(plain, 1.0), plain)
    assert sharpened(torch.eye(64)[None], 3.0).amin() == 0  # as log-magnitudes are


@pytest.mark.parametrize("iterations", [0, 16])
def test_a_waveform_has_the_energy_of_its_magnitudes(iterations):
    """Magnitudes that contradict each other, as random ones do, are as loud as they say; silence stays."""
    generator = torch.Generator().manual_seed(0)
    log_magnitude = 10 * torch.rand(3, 129, 126, generator=generator)
    log_magnitude[2] = 0
    noise = white_noise(REPRESENTATION, 3, 8000, CPU)
    waveform = with_phases(log_magnitude, noise, REPRESENTATION, 8000, iterations)
    made = REPRESENTATION(waveform)[:, 0]
    for each in range(2):
        assert energy(made[each]) == pytest.approx(energy(log_magnitude[each]), abs=0.01)
    assert waveform[2].abs().max() < 1e-6


def test_phases_of_a_tone_are_found():
    """The magnitudes of a tone of 1 kHz alone bring nearly all of it back."""
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)[None]
    noise = white_noise(REPRESENTATION, 1, 8000, CPU)
    made = with_phases(REPRESENTATION(tone)[:, 0], noise, REPRESENTATION, 8000, 16)
    spectrum = torch.fft.rfft(made[0]).abs().square()
    assert spectrum[970:1031].sum() > 0.97 * spectrum.sum()
    assert made.square().mean() == pytest.approx(0.125, rel=0.03)


@pytest.mark.parametrize("iterations", [0, 4])
def test_phases_of_a_waveform_are_those_of_its_spectrogram(iterations):
    """Phases that begin with a waveform equal those that begin with its spectrogram; silence stays silent."""
    generator = torch.Generator().manual_seed(0)
    log_magnitude = 10 * torch.rand(2, 129, 126, generator=generator)
    log_magnitude[1] = 0
    begin = torch.randn(2, 8000, generator=generator)
    amplitude = REPRESENTATION.amplitude(log_magnitude)
    made = with_phases_of(amplitude, begin, REPRESENTATION, 8000, iterations)
    expected = with_phases(log_magnitude, REPRESENTATION(begin), REPRESENTATION, 8000, iterations)
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    silent = with_phases_of(amplitude, torch.zeros(2, 8000), REPRESENTATION, 8000, iterations)
    assert silent.isfinite().all()
