"""Tests of distill.model.channels: coherence of channels, noise that has it, and mixing to a correlation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.model.channels import coherence_of, coherent, covariance_from, with_correlation

SAMPLES = 16_000
N_FFT = 256
BINS = N_FFT // 2 + 1
quick = settings(max_examples=10, deadline=None)


def noise(count, samples=SAMPLES, seed=0):
    """Make channels of white noise, `[count, samples]`, uncorrelated to within chance."""
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def independent(count, seed=0):
    """Make channels of noise that are uncorrelated to rounding, each of energy 1 per sample."""
    rows, _ = torch.linalg.qr(noise(count, seed=seed).double().T)
    return (rows.T * SAMPLES**0.5).float()


@st.composite
def recordings(draw, least=1, most=4):
    """Draw channels that are mixtures of as many sources, some equal, some silent, loud or quiet."""
    count = draw(st.integers(least, most))
    gains = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3e-5]) | st.integers(-999, 999).map(lambda n: n / 1000)
    mixing = draw(st.lists(gains, min_size=count * count, max_size=count * count))
    level = draw(st.sampled_from([1.0, 1e-4, 100.0]))
    return level * torch.tensor(mixing).view(count, count) @ noise(count, seed=draw(st.integers(0, 3)))


def covariance(waveform):
    """Return the second moments `[C, C]`, by numpy."""
    wide = waveform.double().numpy()
    return torch.from_numpy(wide @ wide.T / wide.shape[1])


def correlation(waveform):
    """Return the correlation of the first two channels, by numpy."""
    return np.corrcoef(waveform[:2].double().numpy())[0, 1]


def test_coherence_is_the_share_of_what_is_common():
    """Coherence equals values by hand, of noise through 1 + 1/z and noise of each channel's own."""
    source, other, own = noise(3, 8 * SAMPLES)
    common = source[1:] + source[:-1]
    found = coherence_of(torch.stack([common + 0.3 * other[1:], common + 0.5 * own[1:]]), N_FFT)[0, 1]
    power = 2 + 2 * torch.cos(math.pi * torch.arange(BINS) / (BINS - 1))
    expected = power / ((power + 0.09) * (power + 0.25)).sqrt()
    assert (found - expected)[5:-9].abs().max() < 0.04


def test_the_phase_of_coherence_is_a_delay():
    """A delay of 3 samples turns bin k by 2 pi * 3 k / n_fft, the later channel behind."""
    one = noise(1, SAMPLES + 3)[0]
    coherence = coherence_of(torch.stack([one[3:], one[:-3]]), N_FFT)
    turns = 2 * math.pi * 3 / N_FFT * torch.arange(BINS)
    expected = torch.polar(torch.ones(BINS), turns)
    assert (coherence[0, 1] - expected)[5:-5].abs().max() < 0.06
    assert torch.equal(coherence[0, 1], coherence[1, 0].conj())


@quick
@given(recordings())
def test_coherence_is_hermitian_with_ones(waveform):
    """It is finite and at most 1; and a silent channel coheres with itself alone."""
    coherence = coherence_of(waveform, N_FFT)
    assert coherence.shape == (len(waveform), len(waveform), BINS)
    torch.testing.assert_close(coherence, coherence.transpose(0, 1).conj())
    assert torch.equal(coherence.diagonal(), torch.ones_like(coherence.diagonal()))
    assert coherence.abs().max() < 1 + 1e-5
    for silent in (~waveform.any(dim=1)).nonzero()[:, 0].tolist():
        assert torch.equal(coherence[silent], torch.eye(len(waveform))[silent][:, None].expand(-1, BINS) + 0j)


@pytest.mark.parametrize("gain", [1.0, 0.25, -1.0])
def test_one_source_gets_one_noise(gain):
    """Channels that differ in gain alone get the same noise, turned over where the gain is negative."""
    waveform = torch.stack([noise(1)[0], gain * noise(1)[0]])
    white = noise(2, seed=7)
    mixed = coherent(white, coherence_of(waveform, N_FFT), N_FFT)
    assert torch.equal(mixed[0], white[0])
    torch.testing.assert_close(mixed[1], math.copysign(1, gain) * white[0], rtol=0, atol=1e-4)


@quick
@given(recordings(most=3))
def test_noise_has_the_coherence_of_a_recording(waveform):
    """Noise has nearly the coherence that is asked for, and each channel is white, of unit power."""
    wanted = coherence_of(waveform, N_FFT)
    mixed = coherent(noise(len(waveform), seed=7), wanted, N_FFT)
    assert (coherence_of(mixed, N_FFT) - wanted).abs().mean() < 0.06
    torch.testing.assert_close(mixed.square().mean(1), torch.ones(len(mixed)), rtol=0, atol=0.06)


@pytest.mark.parametrize("sources", [[0, 0, 1], [0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 2]])
def test_more_channels_than_sources_have_the_power_of_each(sources):
    """Equal channels get equal noise, and those after them lose nothing by it."""
    waveform = noise(3)[sources]
    mixed = coherent(noise(len(sources), seed=7), coherence_of(waveform, N_FFT), N_FFT)
    for channel, source in enumerate(sources):
        first = sources.index(source)
        torch.testing.assert_close(mixed[channel], mixed[first], rtol=0, atol=5e-3)
    torch.testing.assert_close(mixed.square().mean(1), torch.ones(len(sources)), rtol=0, atol=0.06)


@pytest.mark.parametrize("samples", [1, 100, 257])
def test_short_noise(samples):
    """Noise keeps its length, down to one sample."""
    waveform = noise(2, samples)
    mixed = coherent(noise(2, samples, seed=7), coherence_of(waveform, N_FFT), N_FFT)
    assert mixed.shape == (2, samples)
    assert mixed.isfinite().all()


@quick
@given(recordings(least=2))
def test_coherence_and_powers_tell_the_correlation(waveform):
    """Coherence and powers give the covariance that numpy measures, up to a factor."""
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(waveform, N_FFT, window=window, pad_mode="constant", return_complex=True)
    power = spectrum.abs().square().sum(2)
    found = covariance_from(coherence_of(waveform, N_FFT), power)
    wanted = covariance(waveform)
    wanted = wanted * (found.trace() / wanted.trace().clamp(min=1e-30))
    assert (found - wanted).abs().max() <= 0.03 * wanted.diagonal().max()


@quick
@given(
    st.floats(-1, 1), st.floats(-0.8, 0.8), st.sampled_from([1.0, 1e-3, 50.0]), st.sampled_from([1.0, 0.1])
)
def test_channels_are_mixed_to_a_correlation(wanted, have, left, right):
    """Mixed channels have the correlation asked for, whatever theirs was, and keep their energies."""
    one, other = independent(2)
    waveform = torch.stack([left * one, right * (have * one + math.sqrt(1 - have**2) * other)])
    target = torch.tensor([[4.0, wanted * 6], [wanted * 6, 9.0]]).double()
    mixed = with_correlation(waveform, target)
    assert correlation(mixed) == pytest.approx(wanted, abs=5e-3)
    torch.testing.assert_close(mixed.square().mean(1), waveform.square().mean(1), rtol=1e-4, atol=0)


def test_the_mixture_is_the_nearest():
    """Mixtures of that correlation and energies on both sides of it are farther from the original."""
    waveform = independent(2)
    wanted = torch.tensor([[1.0, 0.6], [0.6, 1.0]]).double()
    nearest = (with_correlation(waveform, wanted) - waveform).square().sum()
    for turn in (-0.1, -0.01, 0.01, 0.1):
        turned = torch.tensor(
            [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float32
        )
        other = with_correlation(turned @ waveform, wanted)
        assert abs(correlation(other) - 0.6) < 1e-3
        assert (other - waveform).square().sum() > nearest


@quick
@given(recordings())
def test_what_correlates_already_is_left_alone(waveform):
    """Channels that have the correlation change by rounding alone, equal, silent or quiet ones too."""
    mixed = with_correlation(waveform, covariance(waveform))
    torch.testing.assert_close(mixed, waveform, rtol=0, atol=2e-4 * float(waveform.abs().max()))


@quick
@given(st.integers(1, 4).flatmap(lambda count: st.tuples(*[recordings(count, count)] * 2)))
def test_whatever_is_asked_for_channels_keep_their_energy(pair):
    """Channels keep their energy unless they are to be silent, and nothing is ever not finite."""
    waveform, other = pair
    mixed = with_correlation(waveform, covariance(other))
    assert mixed.isfinite().all()
    expected = waveform.square().sum(dim=1) * other.any(dim=1)
    torch.testing.assert_close(mixed.square().sum(dim=1), expected, rtol=1e-3, atol=1e-30)


def test_three_channels_are_mixed_to_their_correlations():
    """All three pairs have the correlations asked for, as numpy measures them."""
    target = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    mixed = with_correlation(noise(3), torch.from_numpy(target))
    np.testing.assert_allclose(np.corrcoef(mixed.double().numpy()), target, atol=0.02)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_to_others_to_find(value):
    """Channels that are not finite come back, and raise no error of linear algebra."""
    waveform = noise(2)
    assert with_correlation(waveform, value * torch.eye(2).double()) is waveform
    waveform[1, 5] = value
    assert with_correlation(waveform, torch.eye(2).double()) is waveform


def test_what_is_not_there_is_not_brought_out():
    """Channels that differ by 60 dB less than they are loud are not made of that difference."""
    one, other = independent(2)
    waveform = torch.stack([one + 1e-3 * other, one - 1e-3 * other])
    mixed = with_correlation(waveform, torch.eye(2).double())
    assert correlation(mixed) > 0.99


def test_the_coherence_of_one_channel_takes_no_memory():
    """It is 1 at all bins, and holds a single number: a corpus may have tens of thousands of recordings."""
    coherence = coherence_of(torch.ones(1, 4000), N_FFT)
    assert coherence.shape == (1, 1, N_FFT // 2 + 1)
    assert bool((coherence == 1).all())
    assert coherence.untyped_storage().nbytes() == 8
