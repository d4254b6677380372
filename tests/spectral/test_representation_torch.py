"""The representation in torch's own hands: derivatives, transforms, compilation, export, casts."""

import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from distill.spectral.representation import MagnitudeIF


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_both_derivatives_in_float64():
    """The checks of torch of first and second derivatives pass, there and back."""
    representation = MagnitudeIF(44_100, 8, 3)
    waveform = noise(1, 12).double().requires_grad_()
    spectrogram = representation(waveform.detach()).requires_grad_()
    for function, source in ((representation, waveform), (representation.inverse, spectrogram)):
        assert torch.autograd.gradcheck(function, source)
        assert torch.autograd.gradgradcheck(function, source, fast_mode=True)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_it_can_be_transformed_and_mapped():
    """The results of `torch.func` equal those of single calls."""
    representation, waveforms = MagnitudeIF(44_100, 8, 3), noise(3, 1, 20).double()
    each = torch.stack([representation(waveform) for waveform in waveforms])
    torch.testing.assert_close(torch.func.vmap(representation)(waveforms), each)
    back = torch.func.vmap(lambda spectrogram: representation.inverse(spectrogram, 20))(each)
    torch.testing.assert_close(back, waveforms)
    back, change = torch.func.jvp(representation.inverse, (each[0],), (each[0],))
    assert change.shape == back.shape


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_iterations_can_be_mapped():
    """Griffin-Lim iterations under `torch.vmap` equal those of single calls, from either start."""
    representation, waveforms = MagnitudeIF(44_100, 64, 16), noise(3, 320)
    spectrograms = representation(waveforms)
    found = torch.vmap(lambda each: representation.inverse(each[None], 320, 3)[0])(spectrograms)
    torch.testing.assert_close(found, representation.inverse(spectrograms, 320, 3))
    amplitudes = representation.amplitude(spectrograms[:, 0])
    found = torch.vmap(lambda *each: representation.continued(*(one[None] for one in each), 320, 3)[0])(
        amplitudes, waveforms
    )
    torch.testing.assert_close(found, representation.continued(amplitudes, waveforms, 320, 3))


@pytest.mark.parametrize("iterations", [0, 2])
def test_it_can_be_compiled(iterations):
    """Both ways compile to one graph, with the same values, Griffin-Lim iterations included."""
    representation, waveform = MagnitudeIF(44_100, 8, 3), noise(2, 50)

    def there_and_back(waveform):
        spectrogram = representation(waveform)
        return spectrogram, representation.inverse(spectrogram, 50, iterations)

    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(waveform), there_and_back(waveform), rtol=1e-4, atol=1e-5)


def test_one_compiled_graph_serves_every_length():
    """Counts stay symbolic, so that another length is not compiled again."""
    representation = MagnitudeIF(44_100, 8, 3)

    def there_and_back(waveform):
        return representation.inverse(representation(waveform), waveform.shape[-1])

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(there_and_back, fullgraph=True, dynamic=True, backend=counter)
    for samples in (50, 63, 71):
        torch.testing.assert_close(compiled(noise(2, samples)), noise(2, samples), rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1


def test_it_can_be_exported():
    """The exported program makes the same spectrogram."""
    representation, waveform = MagnitudeIF(44_100, 8, 3), noise(2, 20)
    program = torch.export.export(representation, (waveform,)).module()
    torch.testing.assert_close(program(waveform), representation(waveform), rtol=1e-5, atol=1e-5)


def test_it_moves_with_its_module_and_leaves_no_trace_in_checkpoints():
    """All buffers follow `.to(device)`, and the state dict has no key of them."""
    module = torch.nn.ModuleDict({"representation": MagnitudeIF(44_100, 64, 16)})
    assert {buffer.device.type for buffer in module.to("meta").buffers()} == {"meta"}
    assert module.state_dict() == {}


def gradient_of(function, source, seed=1):
    """Return the vector-Jacobian product of a function with fixed noise."""
    source = source.clone().requires_grad_()
    value = function(source)
    return torch.autograd.grad(value, source, noise(*value.shape, seed=seed))[0]


def test_the_gradient_of_the_inverse_equals_torchs():
    """It is that of torch.istft of the spectrum that the channels stand for."""
    representation = MagnitudeIF(44_100, 64, 16)
    spectrogram = representation(noise(2, 320))

    def istft(spectrogram):
        amplitude = 1e-6 * torch.expm1(spectrogram[:, 0].double()) * 64 / 4
        centre = 2 * math.pi * torch.arange(33)[:, None] * torch.arange(21) * 16 / 64
        phase = math.pi * spectrogram[:, 1].double().cumsum(-1) + centre
        window = torch.hann_window(64, dtype=torch.float64)
        return torch.istft(torch.polar(amplitude, phase), 64, 16, window=window, length=320).float()

    actual = gradient_of(lambda s: representation.inverse(s, 320), spectrogram)
    expected = gradient_of(istft, spectrogram)
    assert (actual - expected).norm() <= 5e-5 * expected.norm()


def test_the_gradient_of_the_transform_equals_torchs():
    """It is that of the logarithm of `abs`, and of the differences of `angle`."""
    representation = MagnitudeIF(44_100, 64, 16)
    waveform = noise(2, 320)

    def channels(waveform):
        window = torch.hann_window(64)
        spectrum = torch.stft(waveform, 64, 16, window=window, pad_mode="constant", return_complex=True) / 16
        phase = spectrum.angle() / math.pi
        magnitude = torch.log1p(spectrum.abs() / 1e-6)
        return torch.stack([magnitude, torch.cat([phase[..., :1], phase.diff(dim=-1)], -1)], 1)

    expected = gradient_of(channels, waveform)
    assert (gradient_of(representation, waveform) - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-20, 1e-12, 1e-7, 1e-5, 1.0])
def test_gradients_are_finite_both_ways(scale):
    """Gradients stay within what the floors allow, for silence and what is almost silent too."""
    representation = MagnitudeIF(44_100, 64, 16)
    waveform = scale * noise(2, 320)
    forth = gradient_of(representation, waveform)
    assert forth.isfinite().all()
    assert forth.abs().max() < 1e7
    assert gradient_of(representation.inverse, representation(waveform)).isfinite().all()
