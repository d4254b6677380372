"""The examination of one training step: every component, the gradient of each term, and what is not finite.

Shapes: `B` clips in a batch, `N` samples.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from distill.errors import DistillError, TermError
from distill.loss.composer import CombinedLoss
from distill.loss.faults import described
from distill.plugin.foreign import undisturbed
from distill.system.stopping import is_stop
from distill.views import LossInputs, Waveform

_LARGEST = 3.4e38
"""The largest number in float32."""

_LARGEST_GRADIENT = 1e18
"""The norm of a gradient from which squares of it may be infinite in float32."""

_LARGEST_PEAK = 1e4
"""The peak of a predicted waveform, 80 dB above full scale, from which the model has diverged."""


@frozen(kw_only=True)
class TermExamined:
    """One term in a step.

    `value` is the unweighted term, `parts` are its parts, `gradient` the norm of its weighted gradient with
    respect to the decoder's output and the posterior. They are None if the term raised an error, which
    `error` describes with its place.
    """

    name: str
    origin: str
    weight: float
    value: float | None = None
    gradient: float | None = None
    parts: Mapping[str, float] = {}
    error: str = ""

    @property
    def weighted(self) -> float | None:
        """The weighted term."""
        return None if self.value is None else self.weight * self.value if self.weight else 0.0

    @property
    def is_overweight(self) -> bool:
        """Whether the value and the gradient are finite, and one of them overflows with the weight."""
        if self.value is None or self.gradient is None or self.weight <= 1:
            return False
        if not (math.isfinite(self.value) and math.isfinite(self.gradient)):
            return False
        return abs(self.weight * self.value) > _LARGEST or self.gradient > _LARGEST_GRADIENT

    def problem(self) -> str:
        """Return what is wrong with the term if its inputs are finite, or "" if nothing is."""
        if self.error:
            return f"raised {self.error}"
        if self.value is None or self.gradient is None or not self.weight:
            return ""
        signs = {
            f"is {self.value}": not math.isfinite(self.value),
            "has a gradient that is not finite": not math.isfinite(self.gradient),
            f"overflows with its weight of {self.weight:g}": self.is_overweight,
            f"has a gradient of {self.gradient:.3g}": self.gradient > _LARGEST_GRADIENT,
        }
        return next((sign for sign, is_there in signs.items() if is_there), "")


@frozen(kw_only=True)
class Examination:
    """A step that was computed again, without training.

    `peak` is the largest magnitude of the predicted waveforms, NaN if these or the posterior are not finite.
    """

    terms: tuple[TermExamined, ...]
    peak: float

    @property
    def has_diverged(self) -> bool:
        """Whether the model's output is not finite, or far above full scale, which is 1."""
        return not self.peak <= _LARGEST_PEAK


def nonfinite_names(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the floating-point tensors that hold NaN or an infinity. The host waits once."""
    floats = {name: each for name, each in tensors.items() if each.is_floating_point() and each.numel()}
    if not floats:
        return ()
    largest = torch.stack([each.detach().abs().amax().float() for each in floats.values()])
    finite = largest.isfinite().tolist()
    return tuple(name for name, each in zip(floats, finite, strict=True) if not each)


def examine(loss: CombinedLoss, inputs: LossInputs, weights: Mapping[str, float]) -> Examination:
    """Examine the terms of a loss that have a weight here, on the inputs of a step.

    Each term is computed alone, so that an error of one does not hide another.
    """
    seen = inputs.detached()
    posterior = seen.posterior.mu, seen.posterior.logvar
    sources = [source.requires_grad_() for source in (*seen.prediction.sources, *posterior)]
    bad = nonfinite_names({str(number): source for number, source in enumerate(sources)})
    peak = math.nan if bad else float(inputs.prediction.detached().view(Waveform()).abs().max())
    return Examination(
        terms=tuple(_examine_term(loss, name, seen, sources, weight) for name, weight in weights.items()),
        peak=peak if math.isfinite(peak) else math.nan,
    )


def _examine_term(
    loss: CombinedLoss, name: str, inputs: LossInputs, sources: Sequence[Tensor], weight: float
) -> TermExamined:
    known: dict[str, Any] = {"name": name, "origin": loss.origins[name].origin, "weight": weight}
    try:
        with undisturbed():
            with torch.enable_grad():
                parts = loss.unweighted_parts(name, inputs)
            value = parts.pop(name)
            norm = 0.0
            if value.requires_grad:
                found = torch.autograd.grad(value, sources, allow_unused=True)
                norm = _norm(gradient for gradient in found if gradient is not None)
    except TermError as error:
        cause = error.__cause__
        return TermExamined(**known, error=described(cause) if cause is not None else error.problem)
    except DistillError as error:
        return TermExamined(**known, error=str(error.problem))
    except BaseException as error:  # a backward pass may raise anything
        if is_stop(error):
            raise
        return TermExamined(**known, error=described(error))
    return TermExamined(
        **known,
        value=value.item(),
        gradient=weight * norm if weight else 0.0,
        parts={each: part.item() for each, part in parts.items()},
    )


def _norm(gradients: Iterable[Tensor]) -> float:
    """Return the norm of gradients in float64, in which it does not overflow."""
    squares = [float(torch.linalg.vector_norm(gradient.cpu().double())) ** 2 for gradient in gradients]
    return math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.nan
