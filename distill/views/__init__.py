"""Views: what terms look at, each computed at most once per step and only if a term asks for it.

A view is a frozen attrs value that knows how to compute itself from a `Signal`; two terms that name
an equal view share its tensor. Writing such a class is all it takes to add one.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples, `D` latent size.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from attrs import Attribute, Factory, evolve, field, frozen, validators
from torch import Tensor

from distill.config import suggest
from distill.errors import InputError, ShapeError, TermError
from distill.spectral import transforms
from distill.spectral.plain import at_least_float32
from distill.spectral.representation import MagnitudeIF
from distill.views.posterior import Posterior as Posterior  # its public place is here
from distill.views.uncompiled import made_uncompiled, uncompiled
from distill.views.waveforms import SAMPLE_RATE, folded, representation_at


class View(ABC, Hashable):
    """One way of looking at a signal. Subclass it and decorate with `@attrs.frozen`."""

    @abstractmethod
    def compute(self, signal: "Signal") -> Tensor:
        """Compute the view; `signal.view(other)` gives views to build upon."""


@made_uncompiled
@frozen(kw_only=True, eq=False)
class Signal:
    """One side of a comparison, prediction or target, with its views.

    It is made from a waveform, a spectrogram, or both where both are at hand; the missing one is
    computed if a term asks. `length` is the number of samples of the waveform, `iterations` how often
    the frames of the spectrogram are reconciled when the waveform is made of them.
    """

    representation: MagnitudeIF
    length: int
    spectrogram: Tensor | None = None
    waveform: Tensor | None = None
    iterations: int = 0
    _views: dict[View, Tensor] = field(factory=dict, init=False)
    _firsts: dict[int, "Signal"] = field(factory=dict, init=False)
    _prepared: dict[View, Callable[[], Tensor]] = field(factory=dict, init=False)

    @classmethod
    @uncompiled
    def from_spectrogram(
        cls,
        spectrogram: Tensor,
        representation: MagnitudeIF,
        *,
        length: int | None = None,
        iterations: int = 0,
    ) -> "Signal":
        """Make a signal of a spectrogram `[B, 2, F, T]`.

        `length` is by default the number of samples that its frames hold; beside a target of a known
        length, `LossInputs` sets it to that. `iterations` are those of `MagnitudeIF.inverse`.

        Raises:
            ShapeError: the spectrogram does not have the representation's shape.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1:3] != (2, representation.bins):
            raise ShapeError(
                f"a spectrogram must have the shape [B, 2, {representation.bins}, T] of its representation: "
                f"got {list(spectrogram.shape)}"
            )
        held = representation.samples(spectrogram.shape[-1])
        return cls(
            representation=representation,
            spectrogram=spectrogram,
            length=held if length is None else length,
            iterations=iterations,
        )

    @classmethod
    @uncompiled
    def from_waveform(
        cls, waveform: Tensor, representation: MagnitudeIF, *, spectrogram: Tensor | None = None
    ) -> "Signal":
        """Make a signal of a waveform `[B, N]`, and of its spectrogram where that is at hand already.

        Raises:
            ShapeError: the waveform is not `[B, N]`.
        """
        if waveform.ndim != 2:
            raise ShapeError(f"a waveform must have the shape [B, N]: got {list(waveform.shape)}")
        return cls(
            representation=representation,
            waveform=waveform,
            spectrogram=spectrogram,
            length=waveform.shape[-1],
        )

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """What the signal was made from: its spectrogram, its waveform, or both."""
        return tuple(source for source in (self.spectrogram, self.waveform) if source is not None)

    def detached(self, *, viewed: bool = False) -> "Signal":
        """Give the same signal out of reach of gradients, with the views computed so far if `viewed`."""
        sources = self.spectrogram, self.waveform
        spectrogram, waveform = (None if source is None else source.detach() for source in sources)
        signal = evolve(self, spectrogram=spectrogram, waveform=waveform)
        if viewed:
            for view, tensor in self._views.items():
                signal.prepare(view, tensor.detach)
        return signal

    @uncompiled
    def view(self, view: View) -> Tensor:
        """Return a view, in float64 for a signal of float64 and in float32 otherwise. It is computed once."""
        if view not in self._views:
            self._views[view] = self._prepared[view]() if view in self._prepared else view.compute(self)
        return self._views[view]

    def first(self, count: int) -> "Signal":
        """Give the first `count` examples as a signal, with the waveform where that has been computed."""
        if count not in self._firsts:
            sources = self.spectrogram, self._views.get(Waveform(), self.waveform)
            spectrogram, waveform = (None if source is None else source[:count] for source in sources)
            self._firsts[count] = evolve(self, spectrogram=spectrogram, waveform=waveform)
        return self._firsts[count]

    @property
    def viewed(self) -> tuple[View, ...]:
        """The views that have been computed."""
        return tuple(self._views)

    def holds(self, view: View) -> bool:
        """Tell whether a view has been computed."""
        return view in self._views

    def prepare(self, view: View, compute: Callable[[], Tensor]) -> None:
        """Say how to compute a view, if it is asked for, of what another one has left."""
        self._prepared[view] = compute


def _mapping_of_names(extras: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(extras, Mapping) and all(isinstance(name, str) for name in extras):
        return dict(extras)
    raise InputError(f"extras must be a mapping of names to values: got {extras!r}", culprit="LossInputs")


@made_uncompiled
@frozen(kw_only=True, eq=False)
class LossInputs:
    """All that a term may look at in one step.

    `progress` is how much of the training is done, 0..1. `posterior` may be left out when no chosen
    term asks for it. `extras` are more values by name, for terms that ask for them by `extra(name)`.
    `last` is for the composer, which sets it for the last term that it calls.

    Raises:
        InputError: the posterior is not a `Posterior`, or the extras are not a mapping of names.
        ShapeError: the posterior is not of as many examples as the target, or looks like `[B, T', D]`.
    """

    prediction: Signal
    target: Signal
    _posterior: Posterior | None = None
    progress: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])
    extras: Mapping[str, Any] = field(factory=dict, converter=_mapping_of_names)
    last: bool = False
    _channels: int = 1
    """Neighbouring examples of the sounds that are one of the posterior."""

    def __attrs_post_init__(self) -> None:
        posterior = self._posterior
        if posterior is None:
            return
        if not isinstance(posterior, Posterior):
            got = f"a {posterior.dtype} tensor" if isinstance(posterior, Tensor) else repr(posterior)
            raise InputError(
                f"the posterior must be a Posterior(mu=mu, logvar=logvar) or None: got {got}",
                culprit="LossInputs",
                remedy="Pass what else terms ask for, as codes of a quantizer, by "
                'LossInputs(..., extras={"codes": codes}).',
            )
        frames = self.target.representation.frames(self.target.length)
        posterior.require_fit(math.ceil(self.batch_size / self._channels), frames)

    @property
    def posterior(self) -> Posterior:
        """The posterior; a `TermError` where there is none."""
        if self._posterior is None:
            raise TermError(
                "a chosen term needs the posterior and the inputs have none",
                culprit="LossInputs",
                remedy="Pass posterior=Posterior(mu, logvar), or leave the term out.",
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
        """Make inputs of two waveforms of one shape, `[B, N]` or `[B, C, N]`, 1 being full scale.

        Channels are examples of their own to the terms; the posterior is of the `B` examples. The
        representation that terms on spectrograms look at has frames of about 46 ms, whatever the length:
        2,048 samples and a hop of 512 at 44.1 kHz.

        Raises:
            InputError: a waveform is not a floating-point tensor, or the rate is not one.
            ShapeError: the waveforms do not share one of the shapes, or the posterior does not fit.
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
        """Return a value of `extras`, as it was passed; a `TermError` where there is none of this name.

        In an objective, its tensors have no gradient. `first` does not shorten it.
        """
        if name not in self.extras:
            there = f"only {', '.join(map(repr, self.extras))}" if self.extras else "none"
            raise TermError(
                f"the term needs the extra '{name}', and the inputs have {there}{suggest(name, self.extras)}",
                remedy=f"Pass LossInputs(..., extras={{'{name}': ...}}), or leave the term out.",
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
        """Whether the prediction, and the posterior where there is one, come from a model that learns."""
        posterior = self._posterior
        predicted = any(source.requires_grad for source in self.prediction.sources)
        return predicted and (
            posterior is None or (posterior.mu.requires_grad and posterior.logvar.requires_grad)
        )

    def detached(self) -> "LossInputs":
        """Give the same inputs out of reach of gradients, with the views computed so far."""
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
        """Give the inputs of the first `count` examples, for a term that is too dear for all of them.

        All terms that ask for as many share their views.

        Raises:
            ShapeError: the two sides differ in how many there are.
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
        """Give `(prediction, target)` for a view; the target without gradient.

        Raises:
            ShapeError: the two sides differ in shape.
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
        """Return whether no term has looked at these views or will. Deprecated, as `TermSpec.last` is."""
        held = (side.holds(view) for side in (self.prediction, self.target) for view in views)
        return self.last and not any(held)

    def renewed(self) -> "LossInputs":
        """Give the same inputs with no view computed yet, the prediction as long as the target."""
        length = self.target.length if self.prediction.waveform is None else self.prediction.length
        return evolve(self, prediction=evolve(self.prediction, length=length), target=self.target.detached())


def _detached(value: Any) -> Any:  # noqa: ANN401  # of any type
    """Detach the tensors in dicts, lists and tuples."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) is dict:
        return {key: _detached(item) for key, item in value.items()}
    return type(value)(map(_detached, value)) if type(value) in (list, tuple) else value


@frozen
class Spectrogram(View):
    """Both channels of the representation: `[B, 2, F, T]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Take the spectrogram as it was given, or transform the waveform."""
        if signal.spectrogram is not None:
            return at_least_float32(signal.spectrogram)
        spectrogram: Tensor = signal.representation(signal.view(Waveform()))
        return spectrogram


@frozen
class LogMagnitude(View):
    """Channel 0, `log(1 + amplitude / floor)`: `[B, F, T]`, not negative."""

    def compute(self, signal: Signal) -> Tensor:
        """Take channel 0."""
        return _channels(signal)[0]


@frozen
class Magnitude(View):
    """The amplitude, 1 for a full-scale sine: `[B, F, T]`, not negative."""

    def compute(self, signal: Signal) -> Tensor:
        """Undo the logarithm of channel 0."""
        return signal.representation.amplitude(signal.view(LogMagnitude()))


@frozen
class InstantaneousFrequency(View):
    """Channel 1, in units of pi radians per hop beside the bin's centre: `[B, F, T]` in [-1, 1)."""

    def compute(self, signal: Signal) -> Tensor:
        """Take channel 1."""
        return _channels(signal)[1]


def _channels(signal: Signal) -> tuple[Tensor, Tensor]:
    """Part the channels, both at once, so that their gradients are put together without adding zeros."""
    log_magnitude, frequency = signal.view(Spectrogram()).unbind(1)
    signal.prepare(LogMagnitude(), lambda: log_magnitude)
    signal.prepare(InstantaneousFrequency(), lambda: frequency)
    return log_magnitude, frequency


@frozen
class Waveform(View):
    """The samples, 1 being full scale: `[B, N]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Take the waveform as it was given, or go back from the spectrogram."""
        if signal.waveform is not None:
            return at_least_float32(signal.waveform)
        return signal.representation.inverse(signal.view(Spectrogram()), signal.length, signal.iterations)


@frozen
class FlatMagnitude(View):
    """Channel 0 read as a signal, one bin's frames after the other's: `[B, F * T]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Flatten channel 0."""
        return signal.view(LogMagnitude()).flatten(1)


@frozen(kw_only=True)
class _Transform(View):
    n_fft: int = field(validator=validators.ge(2), metadata={"help": "samples in a Fourier transform"})
    hop: int = field(validator=validators.ge(1), metadata={"help": "samples from frame to frame"})
    # Equal to one with its window spelt out, so that the two share a tensor.
    win_length: int = field(
        default=Factory(lambda self: self.n_fft, takes_self=True),
        validator=validators.ge(1),
        metadata={"help": "samples in the Hann window; as many as n_fft unless set"},
    )

    @win_length.validator
    def _at_most_n_fft(self, attribute: "Attribute[int]", win_length: int) -> None:
        if win_length > self.n_fft:
            raise ValueError(f"'{attribute.name}' must be at most n_fft {self.n_fft}: {win_length}")

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Give `(n_fft, hop, win_length)`."""
        return self.n_fft, self.hop, self.win_length


@frozen(kw_only=True)
class Stft(_Transform):
    """The short-time Fourier transform of the waveform: complex `[B, n_fft // 2 + 1, N // hop + 1]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Transform the waveform."""
        return transforms.stft(signal.view(Waveform()), *self.resolution)


@frozen(kw_only=True)
class StftMagnitude(_Transform):
    """The magnitude of `Stft`, at least 1e-4 as in auraloss: `[B, n_fft // 2 + 1, N // hop + 1]`."""

    @property
    def stft(self) -> Stft:
        """The transform, which whoever looks at it shares with this view."""
        return Stft(n_fft=self.n_fft, hop=self.hop, win_length=self.win_length)

    def compute(self, signal: Signal) -> Tensor:
        """Take the magnitude of the transform, done once, whichever of the two is asked for first."""
        if signal.holds(self.stft):
            return transforms.floored_magnitude(signal.view(self.stft))
        magnitude, transform = transforms.stft_magnitude_first(signal.view(Waveform()), *self.resolution)
        signal.prepare(self.stft, transform)
        return magnitude


@frozen(kw_only=True)
class FlatMagnitudeStft(_Transform):
    """The STFT magnitude of `FlatMagnitude`, at least 1e-4: `[B, n_fft // 2 + 1, F * T // hop + 1]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Transform the flattened channel 0."""
        return transforms.stft_magnitude(signal.view(FlatMagnitude()), *self.resolution)
