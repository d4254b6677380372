"""Tests of distill.spectral.griffin_lim, by torch's own STFT and its inverse."""

import pytest
import torch

from distill.spectral.frames import inverse_squares
from distill.spectral.griffin_lim import Projection, direction_of, griffin_lim

SAMPLES = 3000


def spectra(batch, n_fft, hop):
    """Return random spectra `[B, T, F]` of as many frames as the samples have."""
    generator = torch.Generator().manual_seed(0)
    shape = batch, SAMPLES // hop + 1, n_fft // 2 + 1
    return torch.randn(shape, generator=generator, dtype=torch.complex128)


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (256, 100)])
def test_a_projection_is_the_spectrum_of_the_inverse(n_fft, hop):
    """The projection is the STFT of the inverse STFT, for whole frames."""
    spectrum, window = spectra(2, n_fft, hop), torch.hann_window(n_fft, dtype=torch.float64)
    samples = SAMPLES // hop * hop
    made = torch.istft(spectrum.mT, n_fft, hop, window=window, length=samples)
    again = torch.stft(made, n_fft, hop, window=window, pad_mode="constant", return_complex=True).mT
    project = Projection(spectrum, n_fft, hop, samples)
    for _ in range(2):  # nothing is left of the first call
        found = project(spectrum, torch.empty_like(spectrum))
        torch.testing.assert_close(found, again, rtol=1e-6, atol=1e-6)


def test_iterations_are_those_of_the_accelerated_algorithm():
    """Three iterations are `c(n) + 0.99 (c(n) - c(n - 1))`, of which the phases are taken."""
    spectrum = spectra(1, 256, 64)
    amplitude, start = spectrum.abs(), torch.polar(torch.ones_like(spectrum.real), spectrum.imag)
    project = Projection(spectrum, 256, 64, SAMPLES // 64 * 64)
    direction, closest = start, []
    for _ in range(3):
        closest.append(project(amplitude * direction, torch.empty_like(spectrum)))
        leap = closest[-1] + 0.99 * (closest[-1] - closest[-2] if closest[1:] else 0)
        direction = leap / leap.abs()
    found = griffin_lim(amplitude, start.clone(), 3, project)
    torch.testing.assert_close(found, direction)


def test_silence_has_a_phase_of_0():
    """A bin of magnitude 0 has the direction 1, and others are not changed by it."""
    spectrum = torch.tensor([[[0j, 3 + 4j]]])
    found = direction_of(spectrum, out=torch.empty_like(spectrum))
    torch.testing.assert_close(found, torch.tensor([[[1 + 0j, 0.6 + 0.8j]]]))


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 30])
def test_squares_of_windows_are_summed(frames):
    """The reciprocal of summed squares is that of windows added one by one, at both ends and between."""
    window, whole = torch.hann_window(256), torch.zeros((frames - 1) * 64 + 256)
    for frame in range(frames):
        whole[64 * frame : 64 * frame + 256] += window.square()
    found = inverse_squares(window, 64, frames)
    torch.testing.assert_close(found, torch.where(whole > 1e-8, 1 / whole, 0.0))
