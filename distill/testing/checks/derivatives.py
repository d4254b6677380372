"""Checks of a term in float64 and with `torch.compile`."""

import warnings
from typing import cast

import torch
from torch import Tensor, nn

from distill.testing.checks.sounds import close
from distill.testing.outcome import Failed, NotApplicable
from distill.testing.subject import Subject, gradients, leaves, number, with_leaves
from distill.views import LossInputs

_STEP = 1e-8
_TOLERANCE = 1e-3


def float64(subject: Subject) -> None:
    """With float64 inputs, the value is float64, and the gradient agrees with finite differences."""
    subject.require_loss()
    module = subject.build().double()
    made = subject.material().to(torch.float64)
    generator = torch.Generator().manual_seed(0)

    def moved(inputs: LossInputs, size: float, directions: list[Tensor]) -> LossInputs:
        steps = {id(leaf): size * each for leaf, each in zip(leaves(inputs), directions, strict=True)}
        return with_leaves(inputs, lambda tensor: tensor + steps[id(tensor)])

    # Random noise avoids points where distances are not differentiable: equal sides, an angle of 0.
    plain = subject.inputs(made)
    noise = [torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype) for leaf in leaves(plain)]
    inputs = moved(plain, 1e-2, noise)
    value = subject.value(module, inputs, "in float64 ")
    if value.dtype != torch.float64:
        raise Failed(
            f"for inputs in float64 the value is {value.dtype}; leave out .float(), and convert constants to "
            "the dtype of the inputs"
        )
    if not subject.has_gradient:
        return
    pulls = gradients(value, leaves(inputs))
    turns = [
        torch.randint(0, 2, leaf.shape, generator=generator).to(leaf.dtype) * 2 - 1 for leaf in leaves(inputs)
    ]
    ahead, behind = (subject.value(module, moved(inputs, size, turns)) for size in (_STEP, -_STEP))
    difference = ((ahead - behind) / (2 * _STEP)).item()
    reached = [(pull, turn) for pull, turn in zip(pulls, turns, strict=True) if pull is not None]
    slope = sum((pull * turn).sum().item() for pull, turn in reached)
    size = sum(pull.square().sum().item() for pull, _ in reached) ** 0.5
    if abs(slope - difference) > _TOLERANCE * size + 1e-9:
        raise Failed(
            f"in float64 the slope is {difference:g} by finite differences and {slope:g} by the gradient; "
            "look for a custom gradient, a rounding, or a detach()"
        )


_COMPILED: set[type] = set()
"""The classes that have passed `compiled`, which takes longer than all other checks combined."""


def compiled(subject: Subject) -> None:
    """Compiled by `torch.compile`, the term returns the same value and gradient.

    Each class is compiled only once in a process, with the options of the first check.
    """
    subject.require_loss()
    module, inputs = subject.build(), subject.inputs()
    if type(module) in _COMPILED:
        return
    expected = subject.value(module, inputs)
    pulls = gradients(expected, leaves(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the compiler
        try:
            # Terms fail in tracing, which all backends share. The eager backend needs no C++ compiler.
            compiled = cast("nn.Module", torch.compile(module, backend="eager"))
        except RuntimeError as error:
            raise NotApplicable(f"torch.compile does not work here: {error}") from error
        try:
            value = number(subject.call(compiled, inputs))
            others = gradients(value, leaves(inputs))
        except Exception as error:
            what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise Failed(
                f"compiled, it raised {what}; wrap what torch cannot compile in torch.compiler.disable(...)"
            ) from error
        finally:
            torch.compiler.reset()
    remedy = "let nothing depend on whether code is compiled"
    if not close(expected, value):
        raise Failed(f"the value is {expected.item():g}, and {value.item():g} compiled; {remedy}")
    if not all(map(_same, pulls, others)):
        raise Failed(f"compiled, the gradient differs; {remedy}")
    _COMPILED.add(type(module))


def _same(pull: Tensor | None, other: Tensor | None) -> bool:
    if pull is None or other is None:
        return pull is other
    return bool((pull - other).norm() <= 1e-3 * pull.norm())
