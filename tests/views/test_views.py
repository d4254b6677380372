"""Tests of distill.views: what each view is, what is computed, and how often."""

import math
from itertools import pairwise

import pytest
import torch
from attrs import field, frozen
from view_inputs import EVERY_VIEW, LONG_STFT, REPRESENTATION, noise

from distill.config import structure
from distill.errors import ConfigError, InputError, ShapeError
from distill.views import (
    FlatMagnitudeStft,
    Posterior,
    Signal,
    Spectrogram,
    Stft,
    StftMagnitude,
    View,
    Waveform,
)


def test_what_each_view_is():
    """Each view (channels, amplitude, flattened magnitude, transforms) follows its definition."""
    waveform = noise(2, 400)
    spectrogram = REPRESENTATION(waveform)
    signal = Signal.from_waveform(waveform, REPRESENTATION)
    magnitude, frequency = spectrogram.unbind(1)
    flat = magnitude.reshape(2, -1)

    def stft(signal, win_length=32):
        return torch.stft(signal, 32, 8, win_length, torch.hann_window(win_length), return_complex=True)

    expected = [
        spectrogram,
        magnitude,
        1e-6 * (magnitude.exp() - 1),
        frequency,
        waveform,
        flat,
        stft(waveform),
        stft(waveform, 20).abs().clamp(min=1e-4),
        stft(flat).abs().clamp(min=1e-4),
    ]
    for view, value in zip(EVERY_VIEW, expected, strict=True):
        torch.testing.assert_close(signal.view(view), value, rtol=1e-4, atol=1e-5)


def test_a_waveform_is_made_with_griffin_lim_iterations():
    """The signal has the number of Griffin-Lim iterations of the inverse, by default none."""
    spectrogram = REPRESENTATION(noise(1, 400)) + noise(1, 2, 33, 26, seed=1).abs()
    signals = [Signal.from_spectrogram(spectrogram, REPRESENTATION, iterations=count) for count in (0, 3)]
    plain, iterated = (signal.view(Waveform()) for signal in signals)
    torch.testing.assert_close(plain, REPRESENTATION.inverse(spectrogram))
    torch.testing.assert_close(iterated, REPRESENTATION.inverse(spectrogram, iterations=3))
    assert not torch.allclose(plain, iterated, atol=1e-3)
    torch.testing.assert_close(Signal.from_spectrogram(spectrogram, REPRESENTATION).view(Waveform()), plain)


def test_silence_falls_to_the_floor_of_auraloss():
    """An STFT magnitude is at least 1e-4."""
    signal = Signal.from_waveform(torch.zeros(1, 100), REPRESENTATION)
    for view in (StftMagnitude(n_fft=32, hop=8), FlatMagnitudeStft(n_fft=32, hop=8)):
        assert signal.view(view).unique().tolist() == pytest.approx([1e-4])


@pytest.mark.parametrize("view", EVERY_VIEW, ids=repr)
@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)]
)
def test_views_are_float32_or_float64(view, dtype, expected):
    """Views are float32 or float64 of any source, and half precision is computed in float32."""
    waveform = noise(1, 160)
    for signal in (
        Signal.from_waveform(waveform.to(dtype), REPRESENTATION),
        Signal.from_spectrogram(REPRESENTATION(waveform).to(dtype), REPRESENTATION),
    ):
        assert signal.view(view).dtype in (expected, expected.to_complex())


@pytest.mark.parametrize("view", EVERY_VIEW, ids=repr)
def test_views_are_differentiable(view):
    """Gradients reach the source of a view, a waveform or a spectrogram."""
    waveform = noise(1, 160).requires_grad_()
    spectrogram = REPRESENTATION(noise(1, 160)).requires_grad_()
    Signal.from_waveform(waveform, REPRESENTATION).view(view).abs().sum().backward()
    Signal.from_spectrogram(spectrogram, REPRESENTATION).view(view).abs().sum().backward()
    for source in (waveform, spectrogram):
        assert source.grad.isfinite().all()
        assert source.grad.abs().sum() > 0


def test_views_are_equal_by_value():
    """Equal options are one key, an unset window being n_fft; kinds, sizes and windows tell keys apart."""
    assert Stft(n_fft=32, hop=8) == Stft(n_fft=32, hop=8, win_length=32)
    assert hash(Stft(n_fft=32, hop=8)) == hash(Stft(n_fft=32, hop=8, win_length=32))
    assert len({*EVERY_VIEW, *[type(view)() for view in EVERY_VIEW[:6]]}) == len(EVERY_VIEW)
    different = [Stft(n_fft=32, hop=8), Stft(n_fft=32, hop=8, win_length=31), Stft(n_fft=32, hop=9)]
    different += [StftMagnitude(n_fft=32, hop=9), FlatMagnitudeStft(n_fft=32, hop=9)]
    assert all(one != other for one, other in pairwise(different))


def test_a_signal_knows_what_was_viewed():
    """A signal lists the views that it has made, those computed on the way among them."""
    signal = Signal.from_waveform(noise(1, 400), REPRESENTATION)
    assert signal.viewed == ()
    signal.view(Stft(n_fft=32, hop=8))
    assert set(signal.viewed) == {Waveform(), Stft(n_fft=32, hop=8)}


def test_a_view_is_computed_once():
    """The first who asks has it computed; the next gets the same tensor."""
    computed = []

    @frozen
    class Counting(View):
        power: int = field(default=1)

        def compute(self, signal):
            computed.append(self.power)
            return signal.view(Waveform()) ** self.power

    signal = Signal.from_waveform(noise(1, 10), REPRESENTATION)
    assert signal.view(Counting()) is signal.view(Counting())
    signal.view(Counting(2))
    assert computed == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": 1}, "stft.n_fft: must be >= 2, got 1"),
        ({"hop": 0}, "stft.hop: must be >= 1, got 0"),
        ({"win_length": 0}, "stft.win_length: must be >= 1, got 0"),
        ({"win_length": 33}, "stft.win_length: must be at most n_fft 32, got 33"),
    ],
)
def test_the_sizes_of_a_transform_are_checked(options, message):
    """The message gives the path of the option whose size is wrong."""
    with pytest.raises(ConfigError) as caught:
        structure({"n_fft": 32, "hop": 8} | options, Stft, at="stft")
    assert message in caught.value.problems


def test_the_window_of_an_option_follows_its_fft_size():
    """A recipe that sets n_fft alone gets a window of that size."""

    @frozen(kw_only=True)
    class Options:
        stft: Stft = field(default=LONG_STFT)

    assert structure({"stft": {"n_fft": 32}}, Options).stft == Stft(n_fft=32, hop=8, win_length=32)


def test_a_signal_of_a_waveform_keeps_its_spectrogram():
    """A spectrogram given with the waveform is not computed again."""
    spectrogram = torch.ones(1, 2, 33, 5)
    signal = Signal.from_waveform(noise(1, 64), REPRESENTATION, spectrogram=spectrogram)
    assert signal.view(Spectrogram()) is spectrogram
    assert signal.length == 64


def test_the_length_of_a_signal():
    """The length is that of the waveform, or what the frames hold, or less if so given."""
    spectrogram = REPRESENTATION(noise(1, 50))
    assert Signal.from_spectrogram(spectrogram, REPRESENTATION).length == 64
    signal = Signal.from_spectrogram(spectrogram, REPRESENTATION, length=50)
    assert signal.view(Waveform()).shape == (1, 50)


@pytest.mark.parametrize("name", ["length", "iterations"])
@pytest.mark.parametrize("value", [-1, True, 2.5, math.nan])
def test_what_is_no_count_is_refused(name, value):
    """A length and a number of iterations are told when the signal is made, not when a term needs it."""
    with pytest.raises(InputError) as caught:
        Signal.from_spectrogram(torch.zeros(1, 2, 33, 5), REPRESENTATION, **{name: value})
    assert str(caught.value) == f"{name}: expected a whole number from 0 on, got {value!r}"


@pytest.mark.parametrize("shape", [(2, 33, 5), (1, 1, 33, 5), (1, 2, 32, 5)])
def test_a_spectrogram_of_another_representation_is_refused(shape):
    """The error shows the shape that the representation has."""
    with pytest.raises(ShapeError) as caught:
        Signal.from_spectrogram(torch.zeros(shape), REPRESENTATION)
    assert str(caught.value) == (
        f"a spectrogram must have the shape [B, 2, 33, T] of its representation: got {list(shape)}"
    )


def test_what_is_not_a_waveform_is_refused():
    """Channels are not averaged silently: a waveform of another shape is an error."""
    with pytest.raises(ShapeError) as caught:
        Signal.from_waveform(torch.zeros(1, 2, 5), REPRESENTATION)
    assert str(caught.value) == "a waveform must have the shape [B, N]: got [1, 2, 5]"


def test_a_prepared_view_is_made_when_it_is_asked_for():
    """A prepared view is made once, and is held only after it is asked for."""
    made = []
    signal = Signal.from_waveform(noise(1, 10), REPRESENTATION)
    signal.prepare(LONG_STFT, lambda: made.append(1) or torch.ones(1))
    assert not signal.holds(LONG_STFT)
    assert made == []
    assert signal.view(LONG_STFT) is signal.view(LONG_STFT)
    assert signal.holds(LONG_STFT)
    assert made == [1]


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float16, torch.float32), (torch.float64, torch.float64)]
)
def test_the_posterior_is_float32_or_float64(dtype, expected):
    """An exponential of half precision would overflow at 11; float64 stays what it is."""
    posterior = Posterior(mu=torch.zeros(1, 3, dtype=dtype), logvar=torch.full((1, 3), 12.0, dtype=dtype))
    assert posterior.mu.dtype == posterior.logvar.dtype == expected
    assert posterior.logvar.exp().mean().item() == pytest.approx(math.exp(12))


@pytest.mark.parametrize(("mu", "logvar"), [((2, 3), (1, 3)), ((3,), (3,)), ((1, 2, 3, 4), (1, 2, 3, 4))])
def test_the_shapes_of_a_posterior_are_checked(mu, logvar):
    """Mean and log-variance share `[B, D]` or `[B, D, T']`."""
    with pytest.raises(ShapeError) as caught:
        Posterior(mu=torch.zeros(mu), logvar=torch.zeros(logvar))
    assert str(caught.value) == (
        f"mu and logvar must share the shape [B, D] or [B, D, T']: got {list(mu)} and {list(logvar)}"
    )
