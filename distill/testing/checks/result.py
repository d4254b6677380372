"""Checks of the value and gradient of a term, and of its side effects."""

from torch import Tensor

from distill.loss.components import TOTAL
from distill.testing.inputs import varied_loss_inputs
from distill.testing.outcome import Failed
from distill.testing.subject import Subject, gradients, leaves, number, problem_with, seeded
from distill.views import LossInputs, Signal


def scalar(subject: Subject) -> None:
    """The term returns a scalar float tensor, or a dict of named ones whose sum is the loss."""
    result = subject.result(subject.build(), subject.inputs())
    if problem := problem_with(result):
        remedy = "return a scalar float tensor, by .mean() for example, or a dict of them"
        if isinstance(result, dict) and TOTAL in result:
            remedy = "name the part differently, or leave it out: a term is the sum of its parts"
        raise Failed(f"it returned {problem}; {remedy}")


def finite(subject: Subject) -> None:
    """The value is finite for inputs of several shapes, early and late in training."""
    subject.require_number()
    module = subject.build()
    for shape, inputs in varied_loss_inputs(subject.representation):
        value = subject.value(module, inputs, f"given {shape}, ")
        if not value.isfinite():
            raise Failed(
                f"given {shape}, the value is {value.item()}; "
                "keep logarithms, roots and divisors away from 0 by a small floor"
            )


def gradient(subject: Subject) -> None:
    """The prediction or the posterior gets a gradient, which is finite and not 0 everywhere."""
    subject.require_value()
    module = subject.build()
    for shape, inputs in varied_loss_inputs(subject.representation):
        pulls = subject.pulls(module, inputs, f"given {shape}, ")
        reached = [pull for pull in pulls if pull is not None]
        if not reached:
            raise Failed(
                f"given {shape}, no gradient reaches the prediction or the posterior; "
                "compute the loss of inputs.view(...) without detach(), item() or no_grad()"
            )
        require_finite(reached, f"given {shape}, ")
        if not any(bool(pull.any()) for pull in reached):
            raise Failed(
                f"given {shape}, the gradient is 0 everywhere; "
                "avoid functions without a gradient: round(), sign(), comparisons, a saturated clamp()"
            )


def require_finite(pulls: list[Tensor], where: str) -> None:
    """Check that gradients are finite.

    Raises:
        Failed: a gradient is not finite.
    """
    if not all(bool(pull.isfinite().all()) for pull in pulls):
        raise Failed(
            f"{where}the gradient is not finite; a root, a norm, an angle or a logarithm has none at 0: "
            "add a small floor inside of it, not after it"
        )


def inputs_unchanged(subject: Subject) -> None:
    """The term does not change prediction, target, posterior or views, which terms share."""
    subject.require_value()
    for kind in ("spectrogram", "waveform"):
        inputs = subject.inputs(target=kind, prediction=kind).renewed()
        tensors = {
            "the prediction": inputs.prediction.sources,
            "the target": inputs.target.sources,
            "the posterior": (inputs.posterior.mu, inputs.posterior.logvar),
        }
        before = {name: [tensor.detach().clone() for tensor in each] for name, each in tensors.items()}
        with seeded():
            value = number(subject.build()(inputs))
        gradients(value, leaves(inputs))
        for name, each in tensors.items():
            if not all(_same(*pair) for pair in zip(each, before[name], strict=True)):
                raise Failed(f"{name} is changed in place; {_REMEDY}")
        _require_unchanged_views(inputs)


_REMEDY = "other terms use the same tensors: use add, mul or clamp, not add_, mul_ or clamp_"


def _require_unchanged_views(inputs: LossInputs) -> None:
    fresh = inputs.renewed()
    sides: tuple[tuple[str, Signal, Signal], ...] = (
        ("prediction", inputs.prediction, fresh.prediction),
        ("target", inputs.target, fresh.target),
    )
    for name, used, unused in sides:
        for view in used.viewed:
            if not _same(used.view(view), unused.view(view)):
                raise Failed(f"the view {view} of the {name} is changed in place; {_REMEDY}")


def _same(first: Tensor, second: Tensor) -> bool:
    # A view may be computed in another way than before, with other rounding errors.
    return bool(((first - second).abs() <= 1e-4 * (1e-3 + second.abs())).all())


def deterministic(subject: Subject) -> None:
    """Called again with the same inputs, the term returns the same value."""
    subject.require_value()
    module, inputs = subject.build(), subject.inputs()
    first, second = (subject.value(module, inputs, seed=seed).item() for seed in (1, 2))
    if first != second:
        raise Failed(
            f"the same inputs give {first:g} and then {second:g}; "
            "draw random numbers when the term is built, and keep no state between calls"
        )
