"""Tests of distill.loss.composer: the precision and the device in which a loss is computed."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distill.loss.composing import compose
from distill.spectral.representation import MagnitudeIF
from distill.views import LogMagnitude, LossInputs, Posterior, Signal


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype, make_step, composed, numbers, small_stft, small_waveform):
    """Under autocast every component is computed in float32, of whatever precision the inputs are."""

    class Multiplying(nn.Module):
        def __init__(self, _):
            super().__init__()
            self.matrix = nn.Parameter(0.1 * torch.randn(33, 33, generator=torch.Generator().manual_seed(9)))

        def forward(self, inputs):
            prediction, target = inputs.view(LogMagnitude())
            return (self.matrix @ (prediction - target)).square().mean()

    step = make_step()

    def inputs_as(*dtypes):
        def cast(tensor):
            return tensor.to(dtypes[0]).to(dtypes[-1])

        return LossInputs(
            prediction=Signal.from_spectrogram(cast(step.prediction), step.representation),
            target=step.inputs.target,
            posterior=Posterior(mu=cast(step.mu), logvar=cast(step.logvar)),
        )

    built_in = ["stft", "recon", "kl", "waveform"]
    loss = composed(Multiplying, built_in=built_in, options=small_stft | small_waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        components = loss(inputs_as(dtype))
    assert numbers(components) == numbers(loss(inputs_as(dtype, torch.float32)))
    assert components["total"].dtype == torch.float32


def test_a_term_in_half_precision_is_summed_in_float32(make_step, composed):
    """Parts of 60000 and 60000 are summed in float32, since float16 does not hold the sum."""
    loss = composed(
        lambda _: {
            "x": torch.tensor(6e4, requires_grad=True).half(),
            "y": torch.tensor(6e4, requires_grad=True).half(),
        }
    )
    assert loss(make_step().inputs)["total"].item() == 120_000


class RefusingHostTensors(TorchDispatchMode):
    """Lets no operation look at a tensor of the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Go on if all tensors are on the device."""
        tensors = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        assert [str(function) for x in tensors if x.device.type == "cpu"] == []
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("balancer", [None, "gradient"])
@pytest.mark.parametrize("iterations", [0, 2])
def test_all_is_done_on_one_device(monkeypatch, balancer, iterations):
    """No built-in term mixes tensors of the CPU with those of another device, forth and back."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which has no such device
    loss = compose("waveform,stft,recon,kl", balancer=balancer).to("meta")
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    with RefusingHostTensors():
        waveform = torch.empty(2, 4000, device="meta")
        spectrogram = representation(waveform)
        made = spectrogram.detach().requires_grad_()
        mu, logvar = (torch.empty(2, 8, 5, device="meta", requires_grad=True) for _ in range(2))
        inputs = LossInputs(
            prediction=Signal.from_spectrogram(made, representation, iterations=iterations),
            target=Signal.from_waveform(waveform, representation, spectrogram=spectrogram),
            posterior=Posterior(mu=mu, logvar=logvar),
            progress=0.5,
        )
        loss(inputs)["total"].backward()
    assert made.grad.shape == made.shape
