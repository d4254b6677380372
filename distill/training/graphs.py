"""CUDA graphs of the model in training: a pass forward, or back, is one call of the host.

The model has some hundred small kernels in each direction. At the default batch size a GPU computes them in a
fifth of the time in which Python launches them.
"""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

Model = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]

_WARM_UP = 3


class _Whole(nn.Module):
    """The model with its autocast, whose own `forward` stays as it is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, spectrogram: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the model returns."""
        made: tuple[Tensor, Tensor, Tensor] = self.model(spectrogram, noise)
        return made


def can_replay(accelerator: Accelerator) -> bool:
    """Return whether the model can be replayed: on one GPU, without gradients of other processes."""
    return accelerator.device.type == "cuda" and accelerator.num_processes == 1


def recorded(model: nn.Module, spectrogram: Tensor, noise: Tensor) -> Model | None:
    """Return a function that replays `model(spectrogram, noise)`, and its backward pass, by CUDA graphs.

    The function takes inputs of the shapes of these. Its outputs can be differentiated once, all together,
    before the next call. The model must be in training mode, and its parameters must stay where they are.

    Returns:
        The function, or None if CUDA refuses, for lack of memory, say. The model works as well without.
    """
    try:
        differentiable = [each.requires_grad for each in model(spectrogram, noise)]
        graphed: Any = torch.cuda.make_graphed_callables(
            _Whole(model), (spectrogram, noise), num_warmup_iters=_WARM_UP, allow_unused_input=True
        )
    except RuntimeError:
        return None

    def replay(spectrogram: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        # Copies, since the next replay writes over the outputs. A term may keep one.
        made, mu, logvar = (
            each.clone() if wanted else each.detach().clone()
            for each, wanted in zip(graphed(spectrogram, noise), differentiable, strict=True)
        )
        return made, mu, logvar

    return replay
