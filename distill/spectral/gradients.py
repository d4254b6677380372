"""Gradients that are written by hand: how such a function is applied, and differentiated twice."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain

Context: TypeAlias = Any  # torch's own, on which a function keeps what it likes

Backward: TypeAlias = Callable[[Context, Tensor], Any]
Recompute: TypeAlias = Callable[[Context], tuple[tuple[Tensor, ...], Tensor]]


def apply(function: type[Function], *arguments: object) -> Any:  # noqa: ANN401  # whatever the function gives
    """Apply a function that has its own gradient."""
    return function.apply(*arguments)


def differentiable(recompute: Recompute) -> Callable[[Backward], Backward]:
    """Make the hand-written backward of a function differentiable.

    Where a graph of the gradient is wanted, or `torch.vmap` runs through it, the gradient is instead that of
    `recompute(ctx)`: the function's leading inputs, and its value by plain operations.
    """

    def decorate(backward: Backward) -> Backward:
        @wraps(backward)
        def either(ctx: Context, gradient: Tensor) -> Any:  # noqa: ANN401  # one or several tensors
            if not (torch.is_grad_enabled() or plain.is_transformed()):
                return backward(ctx, gradient)
            with torch.enable_grad():
                inputs, value = recompute(ctx)
            needed = ctx.needs_input_grad
            wanted = [one for one, need in zip(inputs, needed, strict=False) if need]
            graph = torch.is_grad_enabled()
            gradients = iter(torch.autograd.grad(value, wanted, gradient, create_graph=graph))
            return tuple(next(gradients) if need else None for need in needed)

        return either

    return decorate


def keep_above(floor: float, size: Tensor, gradient: Tensor) -> Tensor:
    """Set a gradient to 0 in place where `size` is at most `floor`; a tenth of what `masked_fill` takes."""
    torch.ops.aten.threshold_backward.grad_input(gradient, size, floor, grad_input=gradient)
    return gradient
