"""Tests of the spectral engine and the loss on CUDA: that they give what the CPU gives."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from on_cuda import CUDA, assert_near, noise, refusing_to_wait

from distill.functional import create_stft_loss, spectral_distance
from distill.loss.composing import compose
from distill.plugin.builtin_terms import StftConfig
from distill.plugin.registry import Registry
from distill.spectral import transforms
from distill.spectral.representation import MagnitudeIF
from distill.testing.inputs import material

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_waiting_is_noticed():
    """A wait for the device is noticed, which the tests below rely on."""
    value = torch.ones((), device=CUDA)
    with refusing_to_wait(), pytest.raises(RuntimeError, match="synchronizing"):
        float(value)


def test_the_representation_goes_there_and_back():
    """The way to the representation and back reaches 125 dB, nearly as on the CPU."""
    representation = MagnitudeIF()
    waveform = 0.1 * noise(3, 30_000)
    spectrogram = representation(waveform.to(CUDA))
    assert spectrogram.device == CUDA
    assert_near(representation.inverse(spectrogram, 30_000), waveform, 10 ** (-125 / 20))
    assert_near(spectrogram[:, 0], representation(waveform)[:, 0], 1e-5)


@pytest.mark.parametrize("n_fft", [512, 511])
def test_bins_that_stand_for_themselves_are_real(n_fft):
    """Imaginary parts of the first and the last bin have no meaning, and change nothing, each way."""
    spectrum = torch.complex(noise(2, n_fft // 2 + 1, 9), noise(2, n_fft // 2 + 1, 9, seed=1))
    made = [transforms.synthesize(spectrum.to(device), n_fft, 128) for device in ("cpu", CUDA)]
    whole = slice(n_fft, -n_fft)  # the ends are divided by next to nothing
    assert_near(made[1][:, whole], made[0][:, whole], 1e-5)
    gradients = []
    for device in ("cpu", CUDA):
        waveform = noise(2, 4000, seed=2).to(device).requires_grad_()
        transformed = transforms.stft(waveform, n_fft, 128, n_fft)
        pull = torch.complex(noise(*transformed.shape), noise(*transformed.shape, seed=1)).to(device)
        gradients.append(torch.autograd.grad(transformed, waveform, pull)[0])
    assert_near(gradients[1], gradients[0], 1e-5)


def test_griffin_lim_iterations_find_the_phases_of_the_cpu():
    """The inverse of a decoder's output is that of the CPU."""
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    spectrogram = representation(0.1 * noise(2, 4000))
    spectrogram[:, 1] = 0.3 * noise(*spectrogram[:, 1].shape)
    made = [representation.inverse(spectrogram.to(device), 4000, 2) for device in ("cpu", CUDA)]
    assert_near(made[1], made[0], 1e-3)


def test_the_spectral_distance_has_the_cpus_value_and_gradient():
    """Gradients in float32 are off by some 1e-3 wherever they are computed."""
    loss = create_stft_loss()
    results = []
    for device in ("cpu", CUDA):
        prediction = (0.1 * noise(2, 1, 9000)).to(device).requires_grad_()
        value = loss(prediction, (0.1 * noise(2, 1, 9000, seed=1)).to(device))
        results.append((value[None], torch.autograd.grad(value, prediction)[0]))
    assert_near(results[1][0], results[0][0], 1e-5)
    assert_near(results[1][1], results[0][1], 1e-2)


@pytest.mark.parametrize("prediction", ["spectrogram", "waveform"])
@pytest.mark.parametrize("balancer", [None, "gradient"])
def test_a_loss_of_all_built_in_terms_is_the_cpus(prediction, balancer):
    """Each component and the gradient are those of the CPU, and nothing waits for the device."""
    components, gradients = [], []
    for device in (torch.device("cpu"), CUDA):
        loss = compose("stft,recon,kl,waveform", balancer=balancer, registry=Registry(discover=False)).to(
            device
        )
        made = material().to(device)
        representation = MagnitudeIF(8000, n_fft=256, hop=64)
        for _ in range(4):  # windows are made once, and kernels recorded
            loss(made.inputs(representation, prediction=prediction))["total"].backward()
        inputs = made.inputs(representation, prediction=prediction)
        if device == CUDA:
            with refusing_to_wait():
                found = loss(inputs)
                found["total"].backward()
        else:
            found = loss(inputs)
            found["total"].backward()
        components.append({name: value.item() for name, value in found.items()})
        (source,) = inputs.prediction.sources
        gradients.append(source.grad)
    # Balancing weights are ratios of norms of gradients, in float32 off by some 1e-3 wherever computed.
    assert components[1] == pytest.approx(components[0], rel=2e-2 if balancer else 5e-3, abs=1e-5)
    assert_near(gradients[1], gradients[0], 2e-2)


@pytest.mark.parametrize("per_example", [False, True])
def test_a_replayed_distance_is_the_cpus(per_example):
    """From the third call on, kernels are replayed: with the values and gradients of other samples.

    Earlier results stay as they are.
    """
    loss = create_stft_loss(StftConfig(per_example=per_example))
    results, expected = [], []
    for seed in range(6):
        prediction, target = (0.1 * noise(2, 1, 9000, seed=2 * seed + side) for side in range(2))
        for device, into in (("cpu", expected), (CUDA, results)):
            moved = prediction.to(device).requires_grad_()
            value = loss(moved, target.to(device))
            into += [value[None], torch.autograd.grad(3 * value, moved)[0]]
    for one, other in zip(results, expected, strict=True):
        assert_near(one, other, 1e-2)
    values = [torch.cat(each[::2]).detach().cpu() for each in (results, expected)]
    torch.testing.assert_close(*values, rtol=1e-5, atol=0)


def test_a_caller_may_record_the_distance():
    """A CUDA graph of the caller's own holds value and gradient, whether or not there are replays."""
    loss = create_stft_loss()
    prediction, target = (0.1 * noise(2, 1, 5000, seed=side).to(CUDA) for side in range(2))
    prediction.requires_grad_()

    def step():
        value = loss(prediction, target)
        return value, torch.autograd.grad(value, prediction)[0]

    with torch.cuda.stream(torch.cuda.Stream()):  # as torch asks of whoever records a backward pass
        for _ in range(4):
            expected = step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step()
    graph.replay()
    for one, other in zip(made, expected, strict=True):
        assert_near(one[None], other[None], 1e-5)


def _compared(_, waveform):
    sizes = transforms.stft_magnitude(waveform, 512, 128, 512)
    return spectral_distance(sizes, 0.5 * sizes.detach().flip(-1) + 0.01)[None]


FUNCTIONS = {
    "spectrogram": lambda representation, waveform: representation(waveform),
    "inverse": lambda representation, waveform: representation.inverse(representation(waveform), 9000),
    "magnitude": lambda _, waveform: transforms.stft_magnitude(waveform, 512, 128, 512),
    "distance": _compared,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_replayed_functions_are_the_cpus(name):
    """From the third call on, kernels are replayed, backwards, too, with or without gradients.

    Earlier results stay as they are. Other windows in between, and another representation, change nothing.
    """
    function = FUNCTIONS[name]
    results, expected = [], []
    for seed in range(6):
        waveform = 0.1 * noise(2, 9000, seed=seed)
        for device, into in (("cpu", expected), (CUDA, results)):
            representation = MagnitudeIF(8000, n_fft=512, hop=128).to(device)
            with torch.inference_mode(mode=seed == 2):
                made = function(representation, waveform.to(device))
            moved = waveform.to(device).requires_grad_()
            value = function(representation, moved)
            pull = 0.1 * noise(*value.shape, seed=100 + seed).to(device)
            kept = torch.autograd.grad(value, moved, pull, retain_graph=True)[0]
            into += [made, value, kept, torch.autograd.grad(value, moved, 2 * pull)[0]]
        for n_fft in range(64 + 20 * seed, 84 + 20 * seed):
            transforms.stft(waveform.to(CUDA), n_fft, n_fft // 2, n_fft)
    for one, other in zip(results, expected, strict=True):
        # The IF of noise turns by whole turns for a change of nothing.
        if one.ndim == 4:
            one, other = one[:, 0], other[:, 0]  # noqa: PLW2901
        assert_near(one, other, 2e-2)


def test_a_replayed_distance_has_second_derivatives():
    """The product of a Hessian with a vector is the CPU's."""
    products = []
    for device in ("cpu", CUDA):
        for seed in range(4):
            sizes = (noise(2, 20, 30, seed=seed).abs() + 0.1).to(device).requires_grad_()
            target = (noise(2, 20, 30, seed=9).abs() + 0.1).to(device)
            (slope,) = torch.autograd.grad(spectral_distance(sizes, target), sizes, create_graph=True)
            (product,) = torch.autograd.grad(slope, sizes, noise(2, 20, 30, seed=8).to(device))
        products.append(product)
    assert_near(products[1], products[0], 1e-3)


def test_calls_in_two_threads_and_streams_are_told_apart():
    """Threads with streams of their own get the results of their own samples."""
    loss = create_stft_loss()
    pairs = [[0.1 * noise(2, 1, 6000, seed=10 * worker + n) for n in range(8)] for worker in range(2)]

    def work(clips):
        with torch.cuda.stream(torch.cuda.Stream()):
            moved = [clip.to(CUDA).requires_grad_() for clip in clips]
            return [loss(one, moved[0].detach() * 0.5).item() for one in moved[1:]]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, pairs))
    for made, clips in zip(found, pairs, strict=True):
        expected = [loss(one, clips[0] * 0.5).item() for one in clips[1:]]
        assert made == pytest.approx(expected, rel=1e-4)
