"""Helpers for autograd functions with hand-written gradients, also for second derivatives."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain

Context: TypeAlias = Any  # torch's context, on which a function may set any attribute

Backward: TypeAlias = Callable[[Context, Tensor], Any]
Recompute: TypeAlias = Callable[[Context], tuple[tuple[Tensor, ...], Tensor]]


def apply(function: type[Function], *arguments: object) -> Any:  # noqa: ANN401  # of the function's type
    """Apply an autograd function."""
    return function.apply(*arguments)


def differentiable(recompute: Recompute) -> Callable[[Backward], Backward]:
    """Make the hand-written backward of a function differentiable.

    The hand-written backward is used unless a graph of the gradient is needed or `torch.vmap` transforms it.
    Then the gradient is computed by autograd from `recompute(ctx)`, which returns the function's leading
    inputs and its value by plain torch operations.
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
    """Set a gradient to 0 in place where `size <= floor`, in a tenth of the time of `masked_fill`."""
    torch.ops.aten.threshold_backward.grad_input(gradient, size, floor, grad_input=gradient)
    return gradient
