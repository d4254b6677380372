"""Tests of distill.spectral.representation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import DistillError, InputError, ShapeError
from distill.spectral.representation import MagnitudeIF, wrapped

SIZES = [(2048, 512), (1024, 256), (512, 256), (300, 100), (64, 16), (37, 11), (2, 1)]


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sine(bin_, n_fft, samples=6000, amplitude=1.0):
    """Make a sine `[1, samples]` at a bin, which need not be whole."""
    angle = 2 * math.pi * bin_ / n_fft * torch.arange(samples, dtype=torch.float64)
    return (amplitude * angle.sin()).float()[None]


def impulses(samples=6000):
    """Make single samples in silence, the first and the last among them."""
    waveform = torch.zeros(1, samples)
    waveform[0, [0, 1000, 3001, samples - 1]] = torch.tensor([1.0, -0.5, 1e-3, 0.7])
    return waveform


def snr(original, copy):
    """Return the signal-to-noise ratio in dB."""
    original, copy = original.double(), copy.double()
    return 10 * torch.log10(original.square().sum() / (original - copy).square().sum().clamp(min=1e-30))


@pytest.mark.parametrize(("n_fft", "hop"), SIZES)
@pytest.mark.parametrize(
    "waveform",
    [noise(2, 6000), sine(40.3, 512), sine(3, 64, amplitude=1e-3), impulses(), impulses() + noise(1, 6000)],
    ids=["noise", "sine", "quiet sine", "impulses", "both"],
)
def test_round_trip(waveform, n_fft, hop):
    """What goes in comes out, with noise at least 100 dB below it, in float32 and of one length."""
    representation = MagnitudeIF(44_100, n_fft, hop)
    spectrogram = representation(waveform)
    back = representation.inverse(spectrogram, waveform.shape[-1])
    assert spectrogram.shape == (len(waveform), 2, n_fft // 2 + 1, math.ceil(6000 / hop) + 1)
    assert spectrogram.dtype == back.dtype == torch.float32
    assert back.shape == waveform.shape
    assert snr(waveform, back) >= 100


@pytest.mark.parametrize(("n_fft", "hop"), SIZES)
def test_round_trip_of_silence(n_fft, hop):
    """Silence is channels of 0, and comes back as silence."""
    representation = MagnitudeIF(44_100, n_fft, hop)
    spectrogram = representation(torch.zeros(1, 3000))
    assert (spectrogram[:, 0] == 0).all()
    assert (representation.inverse(spectrogram, 3000) == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(2, 65), st.data())
def test_round_trip_of_any_length_and_size(samples, n_fft, data):
    """From one sample on, any length comes back, for even and odd sizes and any hop up to half of it."""
    representation = MagnitudeIF(44_100, n_fft, data.draw(st.integers(1, n_fft // 2)))
    waveform = noise(2, samples, seed=data.draw(st.integers(0, 99)))
    spectrogram = representation(waveform)
    assert spectrogram.shape[-1] == representation.frames(samples)
    assert representation.samples(spectrogram.shape[-1]) >= samples
    assert snr(waveform, representation.inverse(spectrogram, samples)) >= 100
    assert (spectrogram[:, 1] >= -1).all()
    assert (spectrogram[:, 1] < 1).all()
    assert (spectrogram[:, 0] >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_half_precision_float32_comes_out(dtype):
    """Half precision gives what its values in float32 give."""
    representation = MagnitudeIF(44_100, 64, 16)
    waveform = noise(1, 500).to(dtype)
    spectrogram = representation(waveform)
    assert torch.equal(spectrogram, representation(waveform.float()))
    back = representation.inverse(spectrogram.to(dtype))
    assert spectrogram.dtype == back.dtype == torch.float32
    assert torch.equal(back, representation.inverse(spectrogram.to(dtype).float()))


def test_casting_a_module_leaves_the_phases_exact():
    """A model in half precision still goes there and back as exactly as float32 allows."""
    representation = MagnitudeIF(44_100, 64, 16).bfloat16()
    waveform = noise(1, 5000)
    assert snr(waveform, representation.inverse(representation(waveform), 5000)) >= 100


def test_float64_stays_float64():
    """Float64 comes back with 200 dB and more, which float32 cannot hold."""
    representation = MagnitudeIF(44_100, 64, 16)
    waveform = noise(2, 500).double()
    spectrogram = representation(waveform)
    back = representation.inverse(spectrogram, 500)
    assert spectrogram.dtype == back.dtype == torch.float64
    assert snr(waveform, back) >= 200


def test_both_channels_equal_a_calculation_with_numpy():
    """Frames, log(1 + amplitude / floor) and the wrapped phase advance equal numpy's."""
    n_fft, hop, floor, samples = 16, 4, 1e-3, 37
    waveform = noise(1, samples)
    frames = math.ceil(samples / hop) + 1
    padded = np.zeros(n_fft + (frames - 1) * hop)
    padded[n_fft // 2 : n_fft // 2 + samples] = waveform[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    spectrum = np.stack([np.fft.rfft(window * padded[t * hop :][:n_fft]) for t in range(frames)], axis=-1)
    phase = np.angle(spectrum)
    advance = np.diff(phase, axis=-1) - 2 * np.pi * np.arange(n_fft // 2 + 1)[:, None] * hop / n_fft
    turns = np.concatenate([phase[:, :1], advance], axis=-1) / np.pi
    magnitude, frequency = MagnitudeIF(44_100, n_fft, hop, floor)(waveform)[0].double().numpy()
    np.testing.assert_allclose(magnitude, np.log(1 + np.abs(spectrum) * 4 / n_fft / floor), rtol=1e-5)
    error = (frequency - turns + 1) % 2 - 1
    assert np.abs(error).max() < 1e-4


def test_the_first_frame_keeps_the_phase():
    """A cosine's first frame has phase 0, its negative a half turn, a sine's a quarter turn back."""
    representation, n_fft = MagnitudeIF(44_100, 512, 128), 512
    angle = 2 * math.pi * 60 / n_fft * torch.arange(2000.0)
    for waveform, phase in (
        (angle.cos(), 0.0),
        (-angle.cos(), 1.0),
        (angle.sin(), -0.5),
        (-angle.sin(), 0.5),
    ):
        difference = representation(waveform[None])[0, 1, 60, 0] - phase
        assert abs(wrapped(difference)) < 0.01


@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (300, 100), (37, 11)])
def test_the_error_of_the_phase_does_not_grow_with_time(n_fft, hop):
    """After 2000 frames a sine is as exact as 100 dB asks, whatever a bin's advance."""
    representation = MagnitudeIF(44_100, n_fft, hop)
    waveform = sine(0.1 * n_fft, n_fft, samples=2000 * hop if hop < 512 else 40_000)
    end = slice(-20 * hop, -hop)
    back = representation.inverse(representation(waveform), waveform.shape[-1])
    assert snr(waveform[:, end], back[:, end]) >= 100


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.45])
@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (512, 200)])
def test_the_frequency_of_a_stationary_sine(n_fft, hop, offset):
    """A sine `offset` bins beside a bin's centre turns by 2 pi offset hop / n_fft more than the centre."""
    spectrogram = MagnitudeIF(44_100, n_fft, hop)(sine(100 + offset, n_fft))
    steady = slice(math.ceil(n_fft / hop), 6000 // hop - math.ceil(n_fft / hop))
    for bin_ in (99, 100, 101):
        expected = 2 * (100 + offset - bin_) * hop / n_fft
        assert wrapped(spectrogram[0, 1, bin_, steady] - expected).abs().max() < 1e-4


def test_the_amplitude_of_a_full_scale_sine_is_1():
    """Channel 0 is log(1 + 1 / floor) at the bin of a sine of amplitude 1, and amplitude() undoes it."""
    representation = MagnitudeIF(44_100, 1024, 256)
    magnitude = representation(sine(100, 1024))[0, 0, 100, 5:-5]
    torch.testing.assert_close(magnitude, torch.full_like(magnitude, math.log(1 + 1e6)), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        representation.amplitude(magnitude), torch.ones_like(magnitude), rtol=1e-4, atol=0
    )


def test_amplitude_undoes_log_magnitude():
    """The two are inverses over 160 dB, and no magnitude stands for a negative amplitude."""
    representation = MagnitudeIF(44_100, 64, 16)
    amplitude = torch.logspace(-7, 1, 50)
    back = representation.amplitude(representation.log_magnitude(amplitude))
    torch.testing.assert_close(back, amplitude, rtol=1e-5, atol=0)
    assert representation.amplitude(torch.tensor(-3.0)) == 0


def test_a_whole_turn_changes_nothing():
    """An IF off by 2, anywhere, is the same sound."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(1, 700))
    turns = 2 * torch.randint(-3, 4, spectrogram[:, 1].shape, generator=torch.Generator().manual_seed(0))
    turned = torch.stack([spectrogram[:, 0], spectrogram[:, 1] + turns], dim=1)
    torch.testing.assert_close(
        representation.inverse(turned), representation.inverse(spectrogram), rtol=0, atol=1e-5
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(-100, 100, width=32))
def test_wrapped_stays_within_one_turn(difference):
    """The result lies in [-1, 1), an even number away."""
    turned = wrapped(torch.tensor(difference)).item()
    assert -1 <= turned < 1
    assert (difference - turned) / 2 == pytest.approx(round((difference - turned) / 2), abs=1e-5)


@pytest.mark.parametrize(("difference", "expected"), [(1.0, -1.0), (-1.0, -1.0), (3.0, -1.0), (-1.25, 0.75)])
def test_wrapped_at_the_ends(difference, expected):
    """A phase of 1 wraps to -1, and one beyond -1 goes on at the other end, not past it."""
    assert wrapped(torch.tensor(difference)).item() == expected


@pytest.mark.parametrize("iterations", [1, 5])
def test_iterations_leave_agreeing_frames_alone(iterations):
    """The spectrogram of a waveform is consistent already, silence in it as well."""
    representation, waveform = MagnitudeIF(44_100, 64, 16), noise(2, 333)
    waveform[1] = 0
    back = representation.inverse(representation(waveform), 333, iterations)
    assert snr(waveform, back) >= 100
    assert not back[1].any()


def test_phases_found_by_iterations_are_constants():
    """The gradient of the magnitudes is that of the inverse at those phases; the IF gets none."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(1, 500)).requires_grad_()
    wanted = noise(1, 500, seed=2)
    gradients = [
        torch.autograd.grad(representation.inverse(spectrogram, 500, count), spectrogram, wanted)[0]
        for count in (0, 1)
    ]
    # The frames agree already, so that iterations find the phases of the IF.
    torch.testing.assert_close(gradients[1][:, 0], gradients[0][:, 0], rtol=1e-2, atol=1e-6)
    assert gradients[0][:, 1].any()
    assert not gradients[1][:, 1].any()


@pytest.mark.parametrize("length", [1, 100, 256, 300, 304])
def test_iterations_take_frames_beyond_the_end_into_account(length):
    """A sound shorter by whole frames than its spectrogram is the beginning of the whole one."""
    representation = MagnitudeIF(8000, n_fft=64, hop=16)
    spectrogram = representation(noise(2, 320))
    spectrogram[:, 1] += 0.1 * noise(*spectrogram[:, 1].shape)
    whole = representation.inverse(spectrogram, iterations=3)
    torch.testing.assert_close(representation.inverse(spectrogram, length, 3), whole[:, :length])


def test_iterations_bring_the_magnitudes_closer():
    """Each iteration misses the magnitudes by less, and 32 by less than as many without acceleration."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(2, 1600))
    spectrogram[:, 1] += 5 * noise(*spectrogram[:, 1].shape, seed=1)
    wanted = representation.amplitude(spectrogram[:, 0])

    def miss(waveform):
        made = representation.amplitude(representation(waveform)[:, 0])
        return ((made - wanted).norm() / wanted.norm()).item()

    misses = [miss(representation.inverse(spectrogram, iterations=count)) for count in (0, 1, 4, 32)]
    assert misses == sorted(misses, reverse=True)
    for _ in range(32):
        waveform = representation.inverse(spectrogram)
        spectrogram = torch.stack([spectrogram[:, 0], representation(waveform)[:, 1]], dim=1)
    assert misses[-1] < miss(representation.inverse(spectrogram)) < 0.6 * misses[0]


@pytest.mark.parametrize("hop", [0, -1, 33])
def test_a_hop_that_loses_samples_is_refused(hop):
    """A hop above half of the FFT size is an error, since it allows no exact inverse."""
    with pytest.raises(
        ValueError, match=f"^hop must be within 1..n_fft / 2 = 32 for an exact inverse: {hop}$"
    ):
        MagnitudeIF(44_100, 64, hop)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"n_fft": 2**30, "hop": 2**28}, f"n_fft: expected a whole number within 2..65536, got {2**30}"),
        ({"n_fft": 64.0}, "n_fft: expected a whole number within 2..65536, got 64.0"),
        (
            {"n_fft": 65_536, "hop": 16_383},
            (
                "n_fft above 8192 must share a larger factor with the hop, such as a power of 2: "
                "65536 and 16383"
            ),
        ),
        ({"sample_rate": 0}, "sample_rate: expected a whole number from 1 on, got 0"),
        ({"floor": 0.0}, "floor must be above 0: 0.0"),
        ({"floor": float("nan")}, "floor: expected a finite number, got nan"),
    ],
)
def test_what_is_no_representation_is_refused(arguments, problem):
    """Wrong sizes are refused with one message, before anything is allocated."""
    with pytest.raises(DistillError) as caught:
        MagnitudeIF(**arguments)
    assert str(caught.value) == problem


@pytest.mark.parametrize("shape", [(), (5,), (1, 0), (0, 5), (1, 1, 5)])
def test_what_is_not_a_waveform_is_refused(shape):
    """The error gives the shape that was expected and the one that came."""
    with pytest.raises(ShapeError) as caught:
        MagnitudeIF(44_100, 64, 16)(torch.zeros(shape))
    assert str(caught.value) == f"a waveform must have the shape [B, N], B > 0 and N > 0: got {list(shape)}"


@pytest.mark.parametrize("shape", [(2, 33, 4), (1, 1, 33, 4), (1, 2, 32, 4), (0, 2, 33, 4), (1, 2, 33, 0)])
def test_what_is_not_a_spectrogram_is_refused(shape):
    """The error gives the shape that was expected and the one that came."""
    with pytest.raises(ShapeError) as caught:
        MagnitudeIF(44_100, 64, 16).inverse(torch.zeros(shape))
    expected = "a spectrogram must have the shape [B, 2, 33, T], B > 0 and T > 0"
    assert str(caught.value) == f"{expected}: got {list(shape)}"


def test_the_inverse_gives_no_more_than_the_frames_hold():
    """The inverse gives all samples of the frames, fewer if asked, and an error for more."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(1, 48))
    assert representation.inverse(spectrogram).shape == (1, 48)
    assert representation.inverse(spectrogram, 0).shape == (1, 0)
    with pytest.raises(ShapeError) as caught:
        representation.inverse(spectrogram, 49)
    assert str(caught.value) == "4 frames hold 48 samples: 49 were asked for"


@pytest.mark.parametrize("value", [-3, True, 2.5, 2.0, math.nan, "2"])
@pytest.mark.parametrize(
    ("name", "expected", "call"),
    [
        ("iterations", " from 0 on", lambda made, count: made.inverse(made(noise(1, 48)), None, count)),
        ("length", "", lambda made, count: made.inverse(made(noise(1, 48)), count)),
        ("samples", " from 0 on", MagnitudeIF.frames),
        ("frames", " from 1 on", MagnitudeIF.samples),
    ],
)
def test_what_is_no_count_is_refused(name, expected, call, value):
    """Samples, frames and iterations are whole numbers, and not negative."""
    kind, problem = InputError, f"{name}: expected a whole number{expected}, got {value!r}"
    if (name, value) == ("length", -3):
        kind, problem = ShapeError, "4 frames hold 48 samples: -3 were asked for"
    with pytest.raises(kind) as caught:
        call(MagnitudeIF(44_100, 64, 16), value)
    assert str(caught.value) == problem


def test_counts_of_numpy_are_whole_numbers():
    """An integer of NumPy counts as one of Python."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(1, 48))
    frames, samples = representation.frames(np.int64(48)), representation.samples(np.int32(4))
    assert (frames, samples, type(frames), type(samples)) == (4, 48, int, int)
    made = representation.inverse(spectrogram, np.int64(40), np.int64(2))
    assert torch.equal(made, representation.inverse(spectrogram, 40, 2))
