"""Tests of the installed plugin, through nothing but Distill's public names."""

import math

import pytest
import torch

import distill_band_energy
from distill import DistillError, LossInputs, MagnitudeIF, Registry, Signal, compose
from distill.testing import check_term, registry_with

(TERM,) = registry_with(distill_band_energy).choose("band_energy")
REPRESENTATION = MagnitudeIF(sample_rate=8000, n_fft=256, hop=64)


def band_energy(prediction, target, **options):
    """Compare two waveforms with the term, composed as in anybody's training loop."""
    loss = compose("band_energy", {f"band_energy.{name}": value for name, value in options.items()})
    sides = {"prediction": prediction, "target": target}
    return loss(LossInputs(**{side: Signal.from_waveform(w, REPRESENTATION) for side, w in sides.items()}))


@pytest.fixture
def noise():
    """Two clips of white noise, half a second each."""
    return torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


def sine(frequency):
    """One clip of a sine."""
    return torch.sin(2 * math.pi * frequency * torch.arange(8000) / 8000)[None]


def test_the_entry_point_registers_the_term():
    """The term is found by name, with the distribution it came from."""
    (term,) = Registry().choose("distill_band_energy:band_energy")
    assert str(term) == "band_energy (distill-band-energy 0.1.0)"


@pytest.mark.parametrize("bands", [1, 8, 32])
def test_the_term_passes_every_check(bands):
    """The term passes every check, whatever its options are."""
    check_term(TERM, bands=bands)


def test_a_sound_does_not_differ_from_itself(noise):
    """Equal sounds cost nothing."""
    assert band_energy(noise, noise)["total"] == 0


def test_a_gain_costs_its_energy_in_nepers(noise):
    """Twice the amplitude is four times the energy in every band: log 4."""
    components = band_energy(2 * noise, noise)
    assert components["band_energy"].item() == pytest.approx(math.log(4), rel=1e-4)


def test_only_the_bands_tell_frequencies_apart():
    """Two sines of one amplitude are alike in a single band and far apart in eight."""
    low, high = sine(1000), sine(3000)
    assert band_energy(low, high, bands=1)["total"] < 0.05
    assert band_energy(low, high, bands=8)["total"] > 2


def test_silence_has_a_finite_gradient(noise):
    """A silent prediction neither breaks the value nor the gradient."""
    silence = torch.zeros_like(noise, requires_grad=True)
    total = band_energy(silence, noise)["total"]
    total.backward()
    assert total.isfinite()
    assert silence.grad.isfinite().all()


def test_the_gradient_raises_a_prediction_that_is_too_quiet(noise):
    """A step against the gradient brings the prediction nearer."""
    quiet = (0.5 * noise).requires_grad_()
    before = band_energy(quiet, noise)["total"]
    before.backward()
    with torch.no_grad():
        after = band_energy(quiet - 0.1 * quiet.grad / quiet.grad.abs().max(), noise)["total"]
    assert after < before


def test_no_bands_are_refused():
    """The options are validated under the term's address."""
    with pytest.raises(DistillError) as caught:
        compose("band_energy", {"band_energy.bands": 0})
    assert str(caught.value) == "loss.band_energy.bands: must be >= 1, got 0"
