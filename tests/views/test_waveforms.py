"""Tests of distill.views.waveforms, through the losses that are called with plain waveforms."""

import auraloss
import pytest
import torch

from distill import LossInputs, MagnitudeIF, Posterior, Signal, compose
from distill.errors import InputError, ShapeError
from distill.views import Spectrogram, Waveform
from distill.views.waveforms import representation_at

SIZES = [512, 1024, 2048], [128, 256, 512], [512, 1024, 2048]


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(*shape):
    """Make a prediction that learns, and a target."""
    return noise(*shape).requires_grad_(), noise(*shape, seed=1)


def refused(kind, call, *arguments, **options):
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(2, 6000), (2, 1, 6000), (2, 3, 6000)])
def test_a_loss_is_called_as_auraloss_is(shape):
    """Value and gradient of `waveform` equal auraloss's, channels being examples."""
    prediction, target = pair(*shape)
    total = compose("waveform")(prediction, target)["total"]
    sides = (side.reshape(-1, 1, shape[-1]) for side in (prediction, target))
    expected = auraloss.freq.MultiResolutionSTFTLoss(*SIZES)(*sides)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=0)
    gradient, wanted = (torch.autograd.grad(value, prediction)[0] for value in (total, expected))
    assert gradient.shape == shape
    assert (gradient - wanted).norm() <= 1e-5 * wanted.norm()


def test_two_waveforms_are_what_inputs_of_them_are():
    """Two waveforms and what is passed beside them give the same values as inputs made of them."""
    prediction, target = pair(2, 3000)
    posterior = Posterior(mu=noise(2, 4), logvar=noise(2, 4, seed=1))
    representation = MagnitudeIF(22_050, 1024, 256)
    inputs = LossInputs(
        prediction=Signal.from_waveform(prediction, representation),
        target=Signal.from_waveform(target, representation),
        posterior=posterior,
        progress=0.2,
    )
    others = {"sample_rate": 22_050, "posterior": posterior, "progress": 0.2, "extras": {"names": "ab"}}
    loss = compose("recon,kl,stft")
    one, other = loss(inputs), loss(prediction, target, **others)
    assert {name: value.item() for name, value in one.items()} == {
        name: value.item() for name, value in other.items()
    }
    made = LossInputs.from_waveforms(prediction, target, **others)
    assert (made.extra("names"), made.target.representation.sample_rate) == ("ab", 22_050)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft"),
    [(44_100, 2048), (48_000, 2048), (22_050, 1024), (16_000, 1024), (8000, 512), (96_000, 4096), (1000, 64)],
)
def test_the_representation_of_a_rate(sample_rate, n_fft):
    """A frame is about 46 ms, a power of two, and a hop is a quarter of it."""
    representation = representation_at(sample_rate, torch.device("cpu"))
    made = (representation.sample_rate, representation.n_fft, representation.hop)
    assert made == (sample_rate, n_fft, n_fft // 4)


@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_the_transform_is_the_same_for_any_length(samples):
    """The transform does not depend on the length, even of a sound shorter than a frame."""
    inputs = LossInputs.from_waveforms(*pair(2, samples))
    assert [side.shape[2] for side in inputs.view(Spectrogram())] == [1025, 1025]
    assert compose("recon")(*pair(2, samples))["total"].isfinite()


def test_channels_are_examples_and_the_posterior_is_of_sounds():
    """Two sounds of three channels are six examples beside a posterior of two; the first four are of two."""
    posterior = Posterior(mu=noise(2, 4), logvar=noise(2, 4, seed=1))
    prediction, target = pair(2, 3, 500)
    inputs = LossInputs.from_waveforms(prediction, target, posterior=posterior)
    assert torch.equal(inputs.view(Waveform())[1], target.reshape(6, 500))
    assert [len(inputs.first(count).posterior.mu) for count in (6, 4, 3, 1)] == [2, 2, 1, 1]
    assert len(inputs.renewed().detached().first(4).first(2).posterior.mu) == 1
    message = refused(ShapeError, LossInputs.from_waveforms, *pair(3, 2, 500), posterior=posterior)
    assert message.startswith("LossInputs: the posterior has 2 examples, and the sounds have 3: ")


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        ((2, 100), (2, 90)),
        ((2, 1, 100), (2, 100)),
        ((100,), (100,)),
        ((1, 1, 1, 9), (1, 1, 1, 9)),
        ((2, 0), (2, 0)),
    ],
)
def test_shapes_that_are_no_pair_of_waveforms_are_refused(prediction, target):
    """Nothing is broadcast; both shapes are shown."""
    assert refused(ShapeError, compose("waveform"), torch.zeros(prediction), torch.zeros(target)) == (
        "prediction and target must share the shape [B, N] or [B, C, N], and not be empty: "
        f"got {list(prediction)} and {list(target)}"
    )


def test_channels_that_are_last_are_not_taken_for_samples():
    """One message tells that channels stand last, another that a spectrogram is complex."""
    swapped = torch.zeros(2, 100, 3)
    assert refused(ShapeError, compose("waveform"), swapped, swapped) == (
        "prediction and target must have the shape [B, C, N]: got [2, 100, 3], "
        "with more channels than samples\n"
        "Transpose them: waveform.transpose(1, 2). soundfile.read, for one, gives [N, C]."
    )
    representation = MagnitudeIF(sample_rate=8000, n_fft=64, hop=16)
    spectrum = torch.zeros(2, 2, 33, 4, dtype=torch.complex64)
    assert refused(ShapeError, Signal.from_spectrogram, spectrum, representation) == (
        "a spectrogram must hold log-magnitude and IF, as floats: got torch.complex64\n"
        "Compute it with representation(waveform), or use Signal.from_waveform."
    )


def test_what_is_no_waveform_is_refused():
    """Integers, one tensor, other types and extra arguments are refused, each with its message."""
    loss, (prediction, target) = compose("waveform"), pair(2, 500)
    assert refused(InputError, loss, prediction, target.to(torch.int16)) == (
        "prediction and target must be floating-point tensors, 1 being full scale: got torch.int16\n"
        "Divide 16-bit samples by 32768."
    )
    remedy = "Call loss(inputs), or loss(prediction, target) with tensors [B, N] or [B, C, N]."
    wrong = "a loss is called with LossInputs or with two waveforms: got"
    assert refused(InputError, loss, prediction) == f"{wrong} Tensor\n{remedy}"
    assert refused(InputError, loss, prediction, "x") == f"{wrong} Tensor and str\n{remedy}"
    inputs = LossInputs.from_waveforms(prediction, target)
    assert refused(InputError, loss, inputs, target, progress=0.5) == (
        "LossInputs contain all inputs of a loss: got target, progress in addition\n"
        "Call loss(inputs), or loss(prediction, target, ...) with two waveforms."
    )
    for rate in (44_100.0, 999, "44100"):
        assert refused(InputError, loss, prediction, target, sample_rate=rate) == (
            f"sample_rate must be a whole number of Hz, 1000 to 768000: got {rate!r}"
        )
