"""Tests of distill.spectral.griffin_lim, by torch's own STFT and its inverse."""

import pytest
import torch

from distill.spectral.frames import inverse_squares
from distill.spectral.griffin_lim import Rephasing, direction_of, griffin_lim

SAMPLES = 3000


def random(*shape):
    """Return normal random numbers in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rephased(amplitude, waveform, n_fft, hop, length):
    """Return the waveform of amplitudes `[B, T, F]` with the phases of another one, by torch alone."""
    window = torch.hann_window(n_fft, dtype=torch.float64)
    spectrum = torch.stft(waveform, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    direction = torch.where(spectrum == 0, 1, torch.sgn(spectrum))
    return torch.istft(amplitude.mT * direction, n_fft, hop, window=window, length=length)


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (256, 100)])
def test_a_waveform_gets_the_phases_of_another(n_fft, hop):
    """It is the inverse STFT of the amplitudes with the phases of the other's STFT, divided by the scale."""
    held = SAMPLES // hop * hop
    amplitude = random(2, SAMPLES // hop + 1, n_fft // 2 + 1).abs()
    waveforms = random(2, 2, held)
    for length in (held, held - 10):
        rephase = Rephasing(amplitude, n_fft, hop, length, scale=0.25)
        # A shorter waveform, of as many frames, is followed by silence. Nothing is left of the longer one.
        for waveform in (waveforms[0], waveforms[1, :, : held - 5]):
            whole = torch.cat([waveform, waveform.new_zeros(2, held - waveform.shape[-1])], 1)
            expected = rephased(amplitude, whole, n_fft, hop, length) / 0.25
            torch.testing.assert_close(rephase(waveform), expected, rtol=1e-6, atol=1e-6)


def test_long_waveforms_are_rephased_in_parts():
    """Parts of frames overlap, and each gets the phases at its place."""
    amplitude, waveform = random(2, 2400, 257).abs(), random(2, 2399 * 128)
    found = Rephasing(amplitude, 512, 128, 2399 * 128, scale=1)(waveform)
    expected = rephased(amplitude, waveform, 512, 128, 2399 * 128)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_iterations_are_those_of_the_accelerated_algorithm():
    """Three iterations are `c(n) + 0.99 (c(n) - c(n - 1))` of spectra, of which the phases are taken."""
    samples, window = SAMPLES // 64 * 64, torch.hann_window(256, dtype=torch.float64)
    amplitude, start = random(1, samples // 64 + 1, 129).abs(), random(1, samples)

    def analyse(waveform):
        return torch.stft(waveform, 256, 64, window=window, pad_mode="constant", return_complex=True)

    direction, closest = torch.sgn(analyse(start)), []
    for _ in range(3):
        made = torch.istft(amplitude.mT * direction, 256, 64, window=window, length=samples)
        closest.append(analyse(made))
        direction = torch.sgn(closest[-1] + 0.99 * (closest[-1] - closest[-2] if closest[1:] else 0))
    expected = torch.istft(amplitude.mT * direction, 256, 64, window=window, length=samples)

    rephase = Rephasing(amplitude, 256, 64, samples, scale=1)
    found = rephase(griffin_lim(rephase(start), 3, rephase))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_silence_has_a_phase_of_0():
    """A bin of magnitude 0 has the direction 1, and others are not changed by it."""
    found = direction_of(torch.tensor([[[0j, 3 + 4j]]]))
    torch.testing.assert_close(found, torch.tensor([[[1 + 0j, 0.6 + 0.8j]]]))


def test_silence_is_rephased_with_phases_of_0():
    """Frames of silence become pulses of their amplitudes; quiet frames keep their phases."""
    amplitude, waveform = random(1, 41, 129).abs(), random(1, 40 * 64)
    waveform[:, 10 * 64 : 30 * 64] = 0
    waveform[:, 30 * 64 :] *= 1e-8
    found = Rephasing(amplitude, 256, 64, 40 * 64, scale=1)(waveform)
    expected = rephased(amplitude, waveform, 256, 64, 40 * 64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 30])
def test_squares_of_windows_are_summed(frames):
    """The reciprocal of summed squares is that of windows added one by one, at both ends and between."""
    window, whole = torch.hann_window(256), torch.zeros((frames - 1) * 64 + 256)
    for frame in range(frames):
        whole[64 * frame : 64 * frame + 256] += window.square()
    found = inverse_squares(window, 64, frames)
    torch.testing.assert_close(found, torch.where(whole > 1e-8, 1 / whole, 0.0))
