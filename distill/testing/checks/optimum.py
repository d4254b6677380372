"""Checks that the gradient of a term leads to lower values, and that the minimum is at the target."""

from attrs import evolve

from distill.testing.checks.result import require_finite
from distill.testing.outcome import Failed, NotApplicable
from distill.testing.subject import Subject, gradients, leaves, stepped

STEPS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Sizes of steps against the gradient, relative to the moved tensors. One must lower the value."""


def minimum(subject: Subject) -> None:
    """The value is lowest where the prediction equals the target, and the gradient is finite there."""
    if subject.spec.trained:
        raise NotApplicable("the minimum depends on what the term has learnt")
    subject.require_comparison()
    module, made = subject.build(), subject.material()
    for kind in ("spectrogram", "waveform"):
        equal = subject.inputs(evolve(made, prediction=made.target), prediction=kind, target=kind)
        where = f"at a {kind} equal to the target's, "
        value = subject.value(module, equal, where)
        pulls = gradients(value, leaves(equal))
        require_finite([pull for pull in pulls[:-2] if pull is not None], where)
        near = {
            "the prediction is near the target only": made.prediction,
            "the prediction is louder by a tenth": 1.1 * made.target,
            "the prediction is quieter by a tenth": 0.9 * made.target,
        }
        others = {
            how: subject.inputs(evolve(made, prediction=prediction), prediction=kind, target=kind)
            for how, prediction in near.items()
        }
        towards = [*pulls[:-2], None, None]
        others["the prediction is moved away from the target, against the gradient"] = stepped(
            equal, towards, 1e-2
        )
        for how, other in others.items():
            lower = subject.value(module, other, where)
            if lower < value - 1e-5 * value.abs() - 1e-7:
                raise Failed(
                    f"{where}the value is {value.item():g}, but {lower.item():g} where {how}; "
                    "treat both sides alike, and return a value to be minimized"
                )


def descent(subject: Subject) -> None:
    """A small step against the gradient lowers the value."""
    subject.require_gradient()
    module, inputs = subject.build(), subject.inputs()
    value = subject.value(module, inputs)
    pulls = gradients(value, leaves(inputs))
    if not any(subject.value(module, stepped(inputs, pulls, step)) < value for step in STEPS):
        raise Failed(
            f"no step against the gradient, of a relative size from {STEPS[0]:g} to {STEPS[-1]:g}, lowers "
            "the value; look for a custom gradient, a detach() or a wrong sign"
        )
