"""Checks of terms with trained parameters: their declaration and their objective."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill.testing.checks.optimum import STEPS
from distill.testing.outcome import Failed, NotApplicable
from distill.testing.subject import Subject, gradients, number, problem_with, seeded
from distill.views import LossInputs


def parameters(subject: Subject) -> None:
    """A term has trained parameters if and only if its config declares it trained."""
    learnt = [name for name, each in subject.build().named_parameters() if each.requires_grad]
    if learnt and not subject.spec.trained:
        raise Failed(
            f"'{learnt[0]}' would be trained, and the term is not declared trained; let its config be a "
            "TrainedTermConfig and give it an objective, or freeze it by requires_grad_(False)"
        )
    if subject.spec.trained and not learnt:
        raise Failed("declared trained, but has no parameter to train; let its config be a TermConfig")


def objective(subject: Subject) -> None:
    """The objective of a trained term is a finite scalar with a gradient for each of its parameters."""
    if not subject.spec.trained:
        raise NotApplicable("the term is not trained")
    module, inputs = subject.build(), subject.inputs(progress=1.0).renewed().detached()
    judge = getattr(module, "objective", None)
    if not callable(judge):
        raise Failed("there is none; give the module a method objective(inputs) beside forward")
    with seeded():
        result = judge(inputs)
    if problem := problem_with(result):
        raise Failed(f"it is {problem}; return a scalar float tensor or a dict of them")
    value = number(result)
    if not value.isfinite():
        raise Failed(f"it is {value.item()}; keep logarithms, roots and divisors away from 0")
    own = {name: each for name, each in module.named_parameters() if each.requires_grad}
    pulls = dict(zip(own, gradients(value, [*own.values()]), strict=True))
    for name, pull in pulls.items():
        if pull is None or not pull.isfinite().all():
            what = "no gradient" if pull is None else "a gradient that is not finite"
            raise Failed(f"it gives {what} to '{name}'; let it depend on every parameter, or remove that one")
    if not _lowered(judge, inputs, own, pulls, value):
        raise Failed("no step of the term's parameters against its gradient lowers it; look for a wrong sign")


def _lowered(
    judge: Callable[[LossInputs], object],
    inputs: LossInputs,
    own: dict[str, nn.Parameter],
    pulls: dict[str, Tensor | None],
    value: Tensor,
) -> bool:
    """Return whether a small step of the parameters against their gradient lowers the objective."""
    start = {name: parameter.detach().clone() for name, parameter in own.items()}
    for step in STEPS:
        with torch.no_grad():
            for name, pull in pulls.items():
                if pull is not None and pull.any():
                    size = start[name].norm() + step
                    own[name].copy_(start[name] - step * size / pull.norm() * pull)
        with seeded():
            if number(judge(inputs)) < value:
                return True
    return False
