"""Tests of distill.spectral.transforms, against torch's own transforms and autograd."""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.spectral import parts, transforms


@st.composite
def resolutions(draw):
    """Draw `(n_fft, hop, win_length)`: odd sizes, short windows, and hops that divide nothing."""
    n_fft = draw(st.integers(2, 40))
    return n_fft, draw(st.integers(1, n_fft + 3)), draw(st.integers(1, n_fft))


PARTS = st.sampled_from([1, 50, 300, 2**19])
"""Numbers taken at a time, from one frame at a time to all at once."""


@contextmanager
def taken_at_a_time(numbers):
    """Cut what is computed into parts of so many numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_CACHED", numbers)
        yield


def noise(*shape, seed=0, dtype=torch.float64):
    """Make normal noise of a given shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(waveform, n_fft, hop, win_length):
    """Transform with torch."""
    window = torch.hann_window(win_length).to(waveform.dtype)
    return torch.stft(waveform, n_fft, hop, win_length, window, return_complex=True)


def value_and_gradient(function, source, seed=1):
    """Return a function's value and its vector-Jacobian product with fixed noise."""
    source = source.clone().requires_grad_()
    value = function(source)
    gradient = noise(*value.shape, seed=seed, dtype=value.dtype)
    return value.detach(), torch.autograd.grad(value, source, gradient)[0]


def assert_near(actual, expected, tolerance):
    """Compare two tensors relative to the largest value of the second, or to what rounding is relative to."""
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(min=1e-3)


@settings(max_examples=50, deadline=None)
@given(resolutions(), st.integers(1, 3), st.integers(1, 60), PARTS)
def test_stft_equals_torch(transform, batch, extra, numbers):
    """Values and gradients are torch's, for any size that torch takes, whole or in parts."""
    waveform = noise(batch, transform[0] // 2 + extra)
    with taken_at_a_time(numbers):
        actual = value_and_gradient(lambda x: transforms.stft(x, *transform), waveform)
    expected = value_and_gradient(lambda x: reference(x, *transform), waveform)
    assert_near(actual, expected, 1e-12)


def by_torch(waveform, transform):
    """Transform with torch, and take auraloss's magnitude."""
    spectrum = reference(waveform, *transform)
    power = spectrum.real.square() + spectrum.imag.square()
    return spectrum, power.clamp(min=transforms.MAGNITUDE_FLOOR**2).sqrt()


@settings(max_examples=50, deadline=None)
@given(resolutions(), st.integers(1, 3), st.integers(1, 60), PARTS)
def test_stft_magnitude_equals_torch(transform, batch, extra, numbers):
    """Values and gradients are those of torch's transform and auraloss's magnitude."""
    waveform = noise(batch, transform[0] // 2 + extra)
    with taken_at_a_time(numbers):
        actual = value_and_gradient(lambda x: transforms.stft_magnitude(x, *transform), waveform)
    assert_near(actual, value_and_gradient(lambda x: by_torch(x, transform)[1], waveform), 1e-9)


@settings(max_examples=50, deadline=None)
@given(resolutions(), st.integers(1, 3), st.integers(1, 60), PARTS)
def test_the_stft_and_its_magnitude_equal_torch(transform, batch, extra, numbers):
    """Both are those of torch, and their gradients add up."""
    waveform = noise(batch, transform[0] // 2 + extra)

    def together(spectrum, magnitude):
        # Twice, since of one negative real bin the two would cancel but for rounding.
        return torch.complex(spectrum.real + 2 * magnitude, spectrum.imag)

    def one_after_the_other(x):
        magnitude, transform_ = transforms.stft_magnitude_first(x, *transform)
        return together(transform_(), magnitude)

    with taken_at_a_time(numbers):
        actual = value_and_gradient(one_after_the_other, waveform)
    assert_near(actual, value_and_gradient(lambda x: together(*by_torch(x, transform)), waveform), 1e-9)


@pytest.mark.parametrize("transform", [(2048, 512, 2048), (1024, 120, 600), (513, 100, 400)])
def test_stft_in_float32(transform):
    """The transform in float32 differs from torch's by rounding alone."""
    waveform = noise(2, 5000, dtype=torch.float32)
    actual = value_and_gradient(lambda x: transforms.stft(x, *transform), waveform)
    expected = value_and_gradient(lambda x: reference(x, *transform), waveform)
    assert actual[0].dtype == torch.complex64
    assert_near(actual, expected, 1e-6)


@settings(max_examples=50, deadline=None)
@given(resolutions(), st.data())
def test_a_waveform_too_short_to_be_reflected_is_padded(transform, data):
    """Where torch raises, zeros are appended until it does not; the gradient is that of the samples."""
    half = transform[0] // 2
    waveform = noise(2, data.draw(st.integers(1, half)))
    actual = value_and_gradient(lambda x: transforms.stft(x, *transform), waveform)
    padding = torch.zeros(2, half + 1 - waveform.shape[-1], dtype=waveform.dtype)
    expected = value_and_gradient(lambda x: reference(torch.cat([x, padding], -1), *transform), waveform)
    assert_near(actual, expected, 1e-12)


@settings(max_examples=50, deadline=None)
@given(resolutions(), st.integers(0, 50))
def test_the_backward_of_analyse_is_its_adjoint(transform, extra):
    """The inner products <analyse(x), y> and <x, backward(y)> have the same real part."""
    n_fft, hop, win_length = transform
    x = noise(2, n_fft + extra).requires_grad_()
    forth = transforms.analyse(x, n_fft, hop, win_length)
    y = noise(*forth.shape, dtype=torch.complex128)
    (back,) = torch.autograd.grad(forth, x, y)
    torch.testing.assert_close((forth * y.conj()).real.sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), PARTS, st.data())
def test_the_backward_of_synthesize_is_its_adjoint(n_fft, frames, numbers, data):
    """The inner products <synthesize(x), y> and <x, backward(y)> are equal."""
    hop = data.draw(st.integers(1, n_fft // 2))
    x = noise(2, n_fft // 2 + 1, frames, dtype=torch.complex128).requires_grad_()
    with taken_at_a_time(numbers):
        forth = transforms.synthesize(x, n_fft, hop)
        assert forth.shape == (2, (frames - 1) * hop + n_fft)
        y = noise(*forth.shape)
        (back,) = torch.autograd.grad(forth, x, y)
    torch.testing.assert_close((forth * y).sum(), (x.conj() * back).real.sum(), rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.data())
def test_synthesize_inverts_analyse(n_fft, frames, data):
    """The samples come back away from the ends, where the window leaves something to invert."""
    hop = data.draw(st.integers(1, n_fft // 2))
    x = noise(2, (frames - 1) * hop + n_fft)
    back = transforms.synthesize(transforms.analyse(x, n_fft, hop, n_fft), n_fft, hop)
    inner = slice(n_fft // 2, n_fft // 2 + (frames - 1) * hop)
    torch.testing.assert_close(back[:, inner], x[:, inner], rtol=0, atol=1e-6)
    assert back.isfinite().all()


def test_a_window_made_in_inference_mode_serves_training():
    """Windows are kept: one that an evaluation made must not stop the next training step."""
    transforms.hann_window.cache_clear()
    waveform = noise(1, 50, dtype=torch.float32)
    with torch.inference_mode():
        transforms.stft(waveform, 16, 4, 12)
    waveform.requires_grad_()
    transforms.stft(waveform, 16, 4, 12).abs().sum().backward()
    assert waveform.grad.abs().sum() > 0


def test_power_equals_the_square_of_abs():
    """Value and gradient are those of the square of `abs`."""
    spectrum = noise(3, 5, dtype=torch.complex128)
    expected = value_and_gradient(lambda z: torch.abs(z).square(), spectrum)
    assert_near(value_and_gradient(transforms.power, spectrum), expected, 1e-14)


def test_floored_magnitude_equals_auralosss_formula():
    """Value and gradient are those of sqrt(clamp(re^2 + im^2, floor^2)), below the floor as well."""
    spectrum = noise(50, 50, dtype=torch.complex128)
    floor = 0.5
    assert 100 < (spectrum.abs() < floor).sum() < 2400
    actual = value_and_gradient(lambda z: transforms.floored_magnitude(z, floor), spectrum)
    expected = value_and_gradient(
        lambda z: (z.real.square() + z.imag.square()).clamp(min=floor**2).sqrt(), spectrum
    )
    assert_near(actual, expected, 1e-14)
    assert (actual[1][spectrum.abs() < floor] == 0).all()


def test_floored_magnitude_falls_to_auralosss_floor():
    """The floor is the square root of auraloss's eps of 1e-8 unless another is given."""
    assert transforms.floored_magnitude(torch.zeros(1, dtype=torch.complex64)).item() == pytest.approx(1e-4)


def test_angle_equals_torch():
    """Value and gradient are those of `torch.angle`."""
    spectrum = noise(20, 20, dtype=torch.complex128)
    expected = value_and_gradient(torch.angle, spectrum)
    assert_near(value_and_gradient(transforms.angle, spectrum), expected, 1e-13)


@pytest.mark.parametrize("function", [transforms.floored_magnitude, transforms.angle])
def test_gradients_equal_finite_differences(function):
    """The hand-written gradients are the slopes."""
    spectrum = noise(10, dtype=torch.complex128).requires_grad_()
    assert torch.autograd.gradcheck(function, spectrum)


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-30, 1e-22, 1e-18, 1e-12, 9e-7])
def test_no_gradient_explodes_near_zero(size):
    """The slope of a magnitude stays 1 or is cut; that of an angle is 1 / magnitude and cut below 1e-6."""
    spectrum = size * torch.exp(1j * torch.arange(1.0, 7.0))
    _, of_magnitude = value_and_gradient(lambda z: transforms.floored_magnitude(z, 0.0), spectrum)
    _, of_angle = value_and_gradient(transforms.angle, spectrum)
    assert of_magnitude.isfinite().all()
    assert of_magnitude.abs().max() < 5
    assert (of_angle == 0).all()


TINY = {
    "stft": lambda x: transforms.stft(x, 8, 4, 7),
    "stft_magnitude": lambda x: transforms.stft_magnitude(x, 8, 4, 7),
    "stft_magnitude_first": lambda x: transforms.stft_magnitude_first(x, 8, 4, 7)[0],
    "the stft after its magnitude": lambda x: transforms.stft_magnitude_first(x, 8, 4, 7)[1](),
    "a waveform too short": lambda x: transforms.stft(x[:, :3], 8, 4, 7),
    "analyse": lambda x: transforms.analyse(x, 7, 4, 5),
    "synthesize": lambda x: transforms.synthesize(torch.complex(x, x.flip(-1)).reshape(1, 5, 4), 8, 3),
    "synthesize, odd": lambda x: transforms.synthesize(torch.complex(x, x.flip(-1)).reshape(1, 5, 4), 9, 3),
    "floored_magnitude": lambda x: transforms.floored_magnitude(torch.complex(x, x.flip(-1)), 0.5),
    "angle": lambda x: transforms.angle(torch.complex(x, x.flip(-1))),
}
"""Each function of the engine at a tiny size, of `[1, 20]` samples."""


@pytest.mark.parametrize("function", TINY.values(), ids=TINY)
def test_second_derivatives(function):
    """A backward pass that keeps a graph can be differentiated again, as finite differences say."""
    assert torch.autograd.gradgradcheck(function, noise(1, 20).requires_grad_())


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@pytest.mark.parametrize("function", TINY.values(), ids=TINY)
def test_plain_operations_have_the_engines_values_and_gradients(function):
    """`torch.func` takes the path of plain operations: what it gives is what the engine gives."""
    source = noise(1, 20)
    value, gradient = value_and_gradient(function, source)
    plain, pull = torch.func.vjp(function, source)
    assert_near((plain, *pull(noise(*value.shape, seed=1, dtype=value.dtype))), (value, gradient), 1e-12)
    _, change = torch.func.jvp(function, (source,), (source,))
    assert change.shape == value.shape
    mapped = torch.func.vmap(function)(torch.stack([source, 2 * source]))
    assert_near(mapped, (value, function(2 * source)), 1e-12)


@pytest.mark.parametrize("function", TINY.values(), ids=TINY)
def test_silence_has_the_same_gradient_by_plain_operations(function):
    """The gradient of silence equals the engine's by plain operations, and is nowhere NaN."""
    value, gradient = value_and_gradient(function, torch.zeros(1, 20))
    plain, pull = torch.func.vjp(function, torch.zeros(1, 20))
    assert_near((plain, *pull(noise(*value.shape, seed=1, dtype=value.dtype))), (value, gradient), 1e-6)
