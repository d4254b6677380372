"""The inputs of a loss: prediction, target, posterior, progress, and extras.

Shapes: `B` batch, `C` channels, `N` samples.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import Attribute, evolve, field, frozen
from torch import Tensor

from distill.config import suggest
from distill.errors import InputError, InvalidValueError, ShapeError, TermError
from distill.views.posterior import Posterior
from distill.views.signal import Signal, View, version
from distill.views.uncompiled import made_uncompiled, uncompiled
from distill.views.waveforms import SAMPLE_RATE, folded, representation_at


def _mapping_of_names(extras: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(extras, Mapping) and all(isinstance(name, str) for name in extras):
        return dict(extras)
    raise InputError(f"extras must be a mapping of names to values: got {extras!r}", culprit="LossInputs")


def _is_share(_: object, attribute: "Attribute[float]", progress: float) -> None:
    if not 0 <= progress <= 1:
        raise InvalidValueError(f"'{attribute.name}' must be within 0..1: {progress!r}")


@made_uncompiled
@frozen(kw_only=True, eq=False)
class LossInputs:
    """The inputs of the terms in one step.

    Attributes:
        prediction: The prediction of the model.
        target: The target.
        posterior: The posterior. It may be omitted if no chosen term uses it.
        progress: The completed share of the training run, 0..1.
        extras: Further values by name, for terms that use `extra(name)`.
        last: Set by the composer for the last term that it calls.

    Raises:
        InputError: A side is not a `Signal`, the posterior is not a `Posterior`, or the extras are not a
            mapping of names.
        ShapeError: The posterior has another number of examples than the target, or looks like `[B, T', D]`.
    """

    prediction: Signal
    target: Signal
    _posterior: Posterior | None = None
    progress: float = field(default=0.0, validator=_is_share)
    extras: Mapping[str, Any] = field(factory=dict, converter=_mapping_of_names)
    last: bool = False
    _channels: int = 1
    """The number of consecutive examples of the signals that are one example of the posterior."""

    def __attrs_post_init__(self) -> None:
        for name, signal in (("prediction", self.prediction), ("target", self.target)):
            if not isinstance(signal, Signal):
                raise InputError(
                    f"the {name} must be a Signal: got a {type(signal).__name__}",
                    culprit="LossInputs",
                    remedy="Make one: Signal.from_waveform(waveform, representation), or "
                    "LossInputs.from_waveforms(prediction, target).",
                )
        posterior = self._posterior
        if posterior is None:
            return
        if not isinstance(posterior, Posterior):
            got = f"a {posterior.dtype} tensor" if isinstance(posterior, Tensor) else repr(posterior)
            raise InputError(
                f"the posterior must be a Posterior(mu=mu, logvar=logvar) or None: got {got}",
                culprit="LossInputs",
                remedy="Pass other inputs of terms, such as codes of a quantizer, as "
                'LossInputs(..., extras={"codes": codes}).',
            )
        frames = self.target.representation.frames(self.target.length)
        posterior.require_fit(math.ceil(self.batch_size / self._channels), frames)

    @property
    def posterior(self) -> Posterior:
        """The posterior. Raises a `TermError` if there is none."""
        if self._posterior is None:
            raise TermError(
                "the term needs the posterior, and the inputs have none",
                remedy="Leave the term out, or, in Python, pass posterior=Posterior(mu=mu, logvar=logvar).",
            )
        return self._posterior

    @classmethod
    @uncompiled
    def from_waveforms(
        cls,
        prediction: Tensor,
        target: Tensor,
        *,
        sample_rate: int = SAMPLE_RATE,
        posterior: Posterior | None = None,
        progress: float = 0.0,
        extras: Mapping[str, Any] | None = None,
    ) -> "LossInputs":
        """Return the inputs of two waveforms of one shape, `[B, N]` or `[B, C, N]`, with full scale 1.

        Terms see each channel as an example; the posterior has `B` examples. The representation for terms on
        spectrograms has frames of about 46 ms, whatever the length: 2,048 samples and a hop of 512 at 44.1
        kHz.

        Raises:
            InputError: A waveform is not a floating-point tensor, or the sample rate is invalid.
            ShapeError: The waveforms do not share one of the shapes, or the posterior does not match.
        """
        prediction, target, channels = folded(prediction, target)
        representation = representation_at(sample_rate, target.device)
        return cls(
            prediction=Signal.from_waveform(prediction, representation),
            target=Signal.from_waveform(target, representation),
            posterior=posterior,
            progress=progress,
            extras=extras or {},
            channels=channels,
        )

    def extra(self, name: str) -> Any:  # noqa: ANN401  # of any type
        """Return a value of `extras` as it was passed. Raises a `TermError` if there is none of this name.

        In an objective, its tensors have no gradient. `first` does not shorten it.
        """
        if name not in self.extras:
            there = f"only {', '.join(map(repr, self.extras))}" if self.extras else "none"
            raise TermError(
                f"the term needs the extra '{name}', and the inputs have {there}{suggest(name, self.extras)}",
                remedy=f"Leave the term out, or, in Python, pass LossInputs(..., extras={{'{name}': ...}}).",
            )
        return self.extras[name]

    @property
    def device(self) -> torch.device:
        """The device of the target."""
        return self.target.sources[0].device

    @property
    def batch_size(self) -> int:
        """The number of examples."""
        return len(self.target.sources[0])

    @property
    def learning(self) -> bool:
        """Whether the prediction, and the posterior if there is one, require gradients."""
        posterior = self._posterior
        predicted = any(source.requires_grad for source in self.prediction.sources)
        return predicted and (
            posterior is None or (posterior.mu.requires_grad and posterior.logvar.requires_grad)
        )

    def detached(self) -> "LossInputs":
        """Return the same inputs detached from the graph, with the views computed so far."""
        posterior = self._posterior
        return evolve(
            self,
            prediction=self.prediction.detached(viewed=True),
            target=self.target.detached(viewed=True),
            posterior=posterior and posterior.detached(),
            extras=_detached(self.extras),
            last=False,
        )

    def first(self, count: int) -> "LossInputs":
        """Return the inputs of the first `count` examples, for a term that is too expensive for all of them.

        Terms with the same `count` share their views.

        Raises:
            ShapeError: Prediction and target differ in the number of examples.
        """
        predicted = len(self.prediction.sources[0])
        if predicted != self.batch_size:
            raise ShapeError(
                f"prediction and target differ in examples: {predicted} and {self.batch_size}",
                culprit="LossInputs",
            )
        if count >= self.batch_size:
            return self
        posterior = self._posterior
        return evolve(
            self,
            prediction=self.prediction.first(count),
            target=self.target.first(count),
            posterior=posterior and posterior.first(math.ceil(count / self._channels)),
        )

    @uncompiled
    def view(self, view: View) -> tuple[Tensor, Tensor]:
        """Return `(prediction, target)` for a view, the target without gradient.

        Raises:
            ShapeError: Prediction and target differ in shape.
        """
        prediction = self.prediction.view(view)
        with torch.no_grad():
            target = self.target.view(view)
        if prediction.shape != target.shape:
            raise ShapeError(
                f"prediction and target differ in shape: {list(prediction.shape)} and {list(target.shape)}",
                culprit=repr(view),
            )
        return prediction, target

    def unshared(self, *views: View) -> bool:
        """Return whether no other term uses these views. Deprecated, as is `TermSpec.last`."""
        warnings.warn(
            "LossInputs.unshared is deprecated and will be removed in 0.4.0; views are computed once",
            DeprecationWarning,
            stacklevel=2,
        )
        held = (side.holds(view) for side in (self.prediction, self.target) for view in views)
        return self.last and not any(held)

    def versions(self) -> tuple[int, ...]:
        """Return the versions of the tensors that the inputs were made from, for `written_since`."""
        return tuple(version(tensor) for _, tensor in self._given())

    def written_since(self, versions: tuple[int, ...]) -> str:
        """Return a description of a tensor or view that was written to in place since, or "" if none was."""
        for (name, tensor), before in zip(self._given(), versions, strict=True):
            if version(tensor) != before:
                return name
        views = [view for side in (self.prediction, self.target) for view in side.written]
        return f"the view {views[0]!r}" if views else ""

    def _given(self) -> Iterator[tuple[str, Tensor]]:
        for name, side in (("prediction", self.prediction), ("target", self.target)):
            yield from ((f"its {name}", source) for source in side.sources)
        if self._posterior is not None:
            yield "the posterior's mu", self._posterior.mu
            yield "the posterior's logvar", self._posterior.logvar
        for name, value in self.extras.items():
            if isinstance(value, Tensor):
                yield f"the extra '{name}'", value

    def renewed(self) -> "LossInputs":
        """Return the same inputs without computed views, with the prediction as long as the target."""
        length = self.target.length if self.prediction.waveform is None else self.prediction.length
        return evolve(self, prediction=evolve(self.prediction, length=length), target=self.target.detached())


def _detached(value: Any) -> Any:  # noqa: ANN401  # of any type
    """Return a value with the tensors in dicts, lists and tuples detached."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) is dict:
        return {key: _detached(item) for key, item in value.items()}
    return type(value)(map(_detached, value)) if type(value) in (list, tuple) else value
