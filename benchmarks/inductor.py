"""Whether what is compiled by `torch.compile` with its default backend equals what is not.

Run: python benchmarks/inductor.py

A C++ compiler is needed. A row gives the relative differences of the value of a function and of its gradient,
and the seconds of the first compiled call. The exit status is 1 if a difference exceeds the bound.
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from page import machine, table
from torch import Tensor, nn

from distill import LossInputs, MagnitudeIF, Posterior, Signal, compose
from distill.functional import create_stft_loss

BOUND = 1e-3
"""Gradients of log-magnitudes in float32 differ by about as much between devices."""

REPRESENTATION = MagnitudeIF(8000, n_fft=256, hop=64)


class Step(nn.Module):
    """A training step: a layer that predicts a spectrogram, and a loss of all built-in terms."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(2 * REPRESENTATION.bins, 2 * REPRESENTATION.bins, 1)
        self.loss = compose("waveform,stft,recon,kl")

    def forward(self, waveform: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """Return the total."""
        prediction = self.layer(REPRESENTATION(waveform).flatten(1, 2)).unflatten(1, (2, -1))
        inputs = LossInputs(
            prediction=Signal.from_spectrogram(prediction, REPRESENTATION, length=waveform.shape[-1]),
            target=Signal.from_waveform(waveform.detach(), REPRESENTATION),
            posterior=Posterior(mu=mu.tanh(), logvar=logvar.tanh()),
            progress=0.5,
        )
        return self.loss(inputs)["total"].square()


def there(waveform: Tensor) -> Tensor:
    """Return the spectrogram of a waveform."""
    return REPRESENTATION(waveform)


def there_and_back(waveform: Tensor, iterations: int) -> Tensor:
    """Return a waveform from its spectrogram."""
    return REPRESENTATION.inverse(REPRESENTATION(waveform), waveform.shape[-1], iterations)


def value_and_gradient(function: Callable[..., Tensor], tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return what a function gives, and the gradient of its mean square in all of the tensors."""
    made = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*made)
    gradients = torch.autograd.grad(value.square().mean(), made)
    return value.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def difference(one: Tensor, other: Tensor) -> float:
    """Return the norm of the difference as a part of the norm."""
    return ((one - other).norm() / other.norm()).item()


def main() -> None:
    """Compare, print a table, and exit with 1 if one case differs."""
    if shutil.which("c++") is None:
        sys.exit("no C++ compiler is found")
    torch.manual_seed(0)
    waveform, other = 0.1 * torch.randn(2, 2, 4000)
    posterior = [*torch.randn(2, 2, 4)]
    stft_loss = create_stft_loss()
    cases: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "create_stft_loss()": (stft_loss, [waveform[:, None], other[:, None]]),
        "MagnitudeIF": (there, [waveform]),
        "MagnitudeIF and its inverse": (partial(there_and_back, iterations=0), [waveform]),
        "the same, 2 Griffin-Lim iterations": (partial(there_and_back, iterations=2), [waveform]),
        "a step with compose": (Step(), [waveform, *posterior]),
    }
    rows, worst = [], 0.0
    for name, (function, tensors) in cases.items():
        expected = value_and_gradient(function, tensors)
        start = time.perf_counter()
        found = value_and_gradient(torch.compile(function), tensors)
        seconds = time.perf_counter() - start
        differences = list(map(difference, found, expected))
        worst = max(worst, *differences)
        rows.append([name, *(f"{each:.1e}" for each in differences), f"{seconds:.0f}"])
    print(f"On {machine(torch.device('cpu'))}; torch {torch.__version__}.\n")
    print(table(["compiled", "value", "gradient", "first call, s"], rows))
    sys.exit(worst > BOUND)


if __name__ == "__main__":
    main()
