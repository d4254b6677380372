"""Checks with sounds that occur in training: silent, quiet, loud and short ones, and of other shapes."""

import torch
from attrs import evolve
from torch import Tensor

from distill.errors import DistillError
from distill.loss.faults import described
from distill.testing.checks.result import require_finite
from distill.testing.inputs import Kind, Material
from distill.testing.outcome import Failed
from distill.testing.subject import Subject, gradients, leaves, with_leaves
from distill.views import LossInputs

KINDS: tuple[Kind, ...] = ("spectrogram", "waveform")


def silence(subject: Subject) -> None:
    """Value and gradient are finite if the prediction, the target, or both are silent."""
    subject.require_prediction()
    made = subject.material()
    nothing = torch.zeros_like(made.target)
    silent = {
        "a silent prediction": evolve(made, prediction=nothing),
        "a silent target": evolve(made, target=nothing),
        "silence on both sides": evolve(made, prediction=nothing, target=nothing),
    }
    for what, sounds in silent.items():
        for kind in KINDS:
            _require_finite_value(
                subject,
                subject.inputs(sounds, prediction=kind),
                f"given {what}, the prediction being a {kind}, ",
            )


def _require_finite_value(subject: Subject, inputs: LossInputs, where: str) -> list[Tensor]:
    module = subject.build()
    value = subject.value(module, inputs, where)
    if not value.isfinite():
        raise Failed(
            f"{where}the value is {value.item()}; add a small floor to divisors and inside of logarithms"
        )
    pulls = [pull for pull in gradients(value, leaves(inputs)) if pull is not None]
    require_finite(pulls, where)
    return pulls


def gain(subject: Subject) -> None:
    """For sounds 60 dB quieter or 20 dB louder, the value is finite, and there is a gradient."""
    subject.require_prediction()
    for what, factor in (("60 dB quieter", 1e-3), ("20 dB louder", 10.0)):
        for kind in KINDS:
            where = f"where both sides are {what}, the prediction being a {kind}, "
            inputs = subject.inputs(subject.material().scaled(factor), prediction=kind)
            pulls = _require_finite_value(subject, inputs, where)
            if subject.has_gradient and not any(bool(pull.any()) for pull in pulls):
                raise Failed(
                    f"{where}the gradient is 0 everywhere; lower the floor or the clamp that levels them, "
                    "or compare logarithms"
                )


def short_input(subject: Subject) -> str:
    """A clip shorter than any window results in a finite value and gradient, or in a `DistillError`."""
    subject.require_prediction()
    module = subject.build()
    samples = subject.representation.n_fft // 4
    for kind in KINDS:
        inputs = subject.inputs(subject.material(samples=samples), prediction=kind)
        try:
            subject.call(module, inputs)
        except DistillError as error:
            return f"refused: {error.problem}"
        except Exception as error:
            raise Failed(
                f"a clip of {samples} samples raised {described(error)}; pad it, "
                "as distill.views.Stft does, or raise a distill.errors.ShapeError that says what is needed"
            ) from error
        _require_finite_value(subject, inputs, f"given a clip of {samples} samples, ")
    return ""


def strict_shapes(subject: Subject) -> None:
    """Prediction and target of different batch size or length raise an error instead of being broadcast."""
    subject.require_comparison()
    module, made = subject.build(), subject.material()
    one = made.taken([0])
    unlike = {
        "1 predicted example beside 2": evolve(made, prediction=one.prediction),
        "a prediction shorter than the target": evolve(
            made, prediction=made.prediction[:, : -8 * subject.representation.hop]
        ),
    }
    for what, sounds in unlike.items():
        for kind in KINDS:
            _require_refusal(subject, module, sounds, what, kind)


def _require_refusal(
    subject: Subject, module: torch.nn.Module, sounds: Material, what: str, kind: Kind
) -> None:
    remedy = "use inputs.view(...) for both sides, which compares their shapes"
    try:
        subject.call(module, subject.inputs(sounds, prediction=kind, target=kind))
    except DistillError:
        return
    except Exception as error:
        raise Failed(f"{what} raised {described(error)}, not a ShapeError; {remedy}") from error
    raise Failed(f"{what} was accepted without an error; {remedy}")


def phase_turn(subject: Subject) -> None:
    """An IF that differs by a full turn, 2 in units of pi radians per hop, does not change the value."""
    subject.require_prediction()
    module, inputs = subject.build(), subject.inputs()
    generator = torch.Generator().manual_seed(0)

    def turned(tensor: Tensor) -> Tensor:
        if tensor.ndim != 4:
            return tensor
        turns = torch.randint(-1, 2, tensor[:, 1].shape, generator=generator)
        return torch.stack([tensor[:, 0], tensor[:, 1] + 2.0 * turns], dim=1)

    value = subject.value(module, inputs)
    other = subject.value(module, with_leaves(inputs, turned))
    if not close(value, other, 1e-3):
        raise Failed(
            f"IFs that differ by full turns result in {other.item():g} instead of {value.item():g}; compare "
            "them by 1 - cos(pi * difference), or wrap the difference to [-1, 1) first"
        )


def close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    """Return whether two numbers are equal up to rounding errors."""
    return bool((first - second).abs() <= tolerance * torch.maximum(first.abs(), second.abs()) + 1e-6)
