"""Tests of distill.loss.composer: what torch's own losses can do, a combined loss can do as well."""

import warnings

import attrs
import pytest
import torch

from distill.loss.composing import compose
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Posterior, Signal

SIZES = {"fft_sizes": [8], "hop_sizes": [4], "win_lengths": [8]}
OPTIONS = {f"{name}.{option}": value for name in ("stft", "waveform") for option, value in SIZES.items()}
REPRESENTATION = MagnitudeIF(8000, n_fft=8, hop=3)


def step(dtype=torch.float32):
    """Return the spectrogram, `mu` and `logvar` that a model makes, and the function that compares them."""
    generator = torch.Generator().manual_seed(0)
    waveforms = 0.1 * torch.randn(2, 1, 15, generator=generator, dtype=dtype)
    target = Signal.from_waveform(waveforms[0], REPRESENTATION)
    spectrogram = REPRESENTATION(waveforms[1])
    # The phases of the first and the last bin are 0 or pi: exactly there the distance of IFs has a kink.
    spectrogram += 0.01 * torch.rand(spectrogram.shape, generator=generator, dtype=dtype)
    posterior = torch.randn(2, 1, 3, generator=generator, dtype=dtype)

    def inputs(spectrogram, mu, logvar):
        return LossInputs(
            prediction=Signal.from_spectrogram(spectrogram, REPRESENTATION),
            target=target,
            posterior=Posterior(mu=mu, logvar=logvar),
            progress=1.0,
        )

    return [each.requires_grad_() for each in (spectrogram, *posterior)], inputs


@pytest.mark.parametrize("terms", ["stft", "recon", "kl", "waveform", "waveform,stft,recon,kl"])
def test_float64_passes_gradcheck(terms):
    """The loss of what is in float64 is computed in it, and its gradients are those of finite differences."""
    loss = compose(terms, {at: value for at, value in OPTIONS.items() if at.partition(".")[0] in terms})
    made, inputs = step(torch.float64)
    components = loss(inputs(*made))
    assert {value.dtype for name, value in components.items() if not name.startswith("weight/")} == {
        torch.float64
    }
    assert torch.autograd.gradcheck(lambda *each: loss(inputs(*each))["total"], made)


@pytest.mark.parametrize("of_prediction", [torch.float64, torch.float32])
@pytest.mark.parametrize("terms", ["stft", "recon", "kl", "waveform"])
def test_sides_may_have_different_dtypes(terms, of_prediction):
    """A prediction in float64 is compared with float32 data in float64, and the other way round."""
    loss = compose(terms, {at: value for at, value in OPTIONS.items() if at.partition(".")[0] in terms})
    (prediction, *posterior), inputs = step(torch.float64)
    target = inputs(prediction, *posterior).target.waveform

    def of(prediction, target):
        made = inputs(prediction.detach().requires_grad_(), *posterior)
        made = attrs.evolve(made, target=Signal.from_waveform(target, REPRESENTATION))
        return loss(made)["total"], made.prediction.spectrogram

    of_target = torch.float32 if of_prediction == torch.float64 else torch.float64
    (total, mixed), (expected, same) = (
        of(prediction.to(of_prediction), target.to(of_target)),
        of(prediction, target),
    )
    torch.testing.assert_close(total, expected, check_dtype=False, rtol=1e-4, atol=1e-6)
    if terms != "kl":
        total.backward()
        expected.backward()
        assert mixed.grad.dtype == of_prediction
        assert (mixed.grad - same.grad).norm() < 1e-2 * same.grad.norm()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of the compiler itself
def test_a_step_with_a_loss_can_be_compiled():
    """A step compiled around the loss has the values and gradients that it has without."""
    loss = compose("waveform,stft,recon,kl", OPTIONS)
    made, inputs = step()

    def whole(spectrogram, mu, logvar):
        return loss(inputs(1.1 * spectrogram, mu.sin(), 0.5 * logvar))["total"].square()

    expected = whole(*made)
    value = torch.compile(whole, backend="aot_eager")(*made)
    torch.testing.assert_close(value, expected)
    of_value, of_expected = (torch.autograd.grad(each, made) for each in (value, expected))
    torch.testing.assert_close(of_value, of_expected)


def test_a_loss_can_be_compiled_by_itself():
    """It is called as it is: its engine is faster than what a compiler makes of plain operations."""
    loss = compose("recon", {})
    made, inputs = step()
    expected, value = (each(inputs(*made))["total"] for each in (loss, torch.compile(loss, backend="eager")))
    torch.testing.assert_close(value, expected)


def of_waveform(terms="waveform,stft,recon"):
    """Return a waveform in float64, and the function that gives the total at it."""
    generator = torch.Generator().manual_seed(1)
    waveform, target = 0.1 * torch.randn(2, 1, 15, generator=generator, dtype=torch.float64)
    loss = compose(terms, {at: value for at, value in OPTIONS.items() if at.partition(".")[0] in terms})

    def total(waveform):
        prediction, other = (Signal.from_waveform(side, REPRESENTATION) for side in (waveform, target))
        return loss(LossInputs(prediction=prediction, target=other))["total"]

    return waveform.requires_grad_(), total


@pytest.mark.parametrize("terms", ["stft", "recon", "waveform"])
def test_second_derivatives_are_those_of_finite_differences(terms):
    """Second derivatives equal finite differences, as a gradient penalty needs them."""
    waveform, total = of_waveform(terms)
    assert torch.autograd.gradgradcheck(total, waveform, fast_mode=True, atol=1e-4)


def test_transforms_of_torch_func_give_what_autograd_gives():
    """The gradient, a forward derivative and both for several predictions equal autograd's."""
    waveform, total = of_waveform()
    (gradient,) = torch.autograd.grad(total(waveform), waveform)
    waveform = waveform.detach()
    torch.testing.assert_close(torch.func.grad(total)(waveform), gradient)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, which torch itself uses here
        _, change = torch.func.jvp(total, (waveform,), (gradient,))
    torch.testing.assert_close(change, gradient.square().sum())
    several = torch.stack([waveform, 0.5 * waveform])
    torch.testing.assert_close(torch.vmap(total)(several), torch.stack([*map(total, several)]))
    torch.testing.assert_close(torch.vmap(torch.func.grad(total))(several)[0], gradient)
