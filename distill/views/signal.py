"""A signal, one side of a comparison, with the views of its sources: spectrogram and waveform.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable

from attrs import evolve, field, frozen
from torch import Tensor

from distill.errors import ShapeError
from distill.spectral.plain import at_least_float32
from distill.spectral.representation import MagnitudeIF, count_like
from distill.views.uncompiled import made_uncompiled, uncompiled


class View(ABC, Hashable):
    """A tensor that can be computed from a signal. Subclass it and decorate with `@attrs.frozen`."""

    @abstractmethod
    def compute(self, signal: "Signal") -> Tensor:
        """Compute the view. `signal.view(other)` returns another view to build upon."""


@made_uncompiled
@frozen(kw_only=True, eq=False)
class Signal:
    """One side of a comparison, prediction or target, with its views.

    It is made from a waveform, a spectrogram, or both. A missing one is computed if a term uses it. `length`
    is the number of samples of the waveform. `iterations` is the number of Griffin-Lim iterations when the
    waveform is computed from the spectrogram.
    """

    representation: MagnitudeIF
    length: int
    spectrogram: Tensor | None = None
    waveform: Tensor | None = None
    iterations: int = 0
    _views: dict[View, Tensor] = field(factory=dict, init=False)
    _versions: dict[View, int] = field(factory=dict, init=False)
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
        """Return a signal of a spectrogram `[B, 2, F, T]`.

        Args:
            spectrogram: The spectrogram.
            representation: Its representation.
            length: The number of samples, by default the maximum for its frames. In a loss, the length of
                the target replaces it.
            iterations: The number of Griffin-Lim iterations, as in `MagnitudeIF.inverse`.

        Raises:
            ShapeError: The spectrogram does not have the representation's shape, or is complex.
            InputError: `length` or `iterations` is not a whole number from 0 on.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1:3] != (2, representation.bins):
            raise ShapeError(
                f"a spectrogram must have the shape [B, 2, {representation.bins}, T] of its representation: "
                f"got {list(spectrogram.shape)}"
            )
        if not spectrogram.is_floating_point():
            raise ShapeError(
                f"a spectrogram must hold log-magnitude and IF, as floats: got {spectrogram.dtype}",
                remedy="Compute it with representation(waveform), or use Signal.from_waveform.",
            )
        held = representation.samples(spectrogram.shape[-1])
        return cls(
            representation=representation,
            spectrogram=spectrogram,
            length=held if length is None else count_like(length, culprit="length", least=0),
            iterations=count_like(iterations, culprit="iterations", least=0),
        )

    @classmethod
    @uncompiled
    def from_waveform(
        cls, waveform: Tensor, representation: MagnitudeIF, *, spectrogram: Tensor | None = None
    ) -> "Signal":
        """Return a signal of a waveform `[B, N]`, and of its spectrogram if that is already computed.

        Raises:
            ShapeError: The waveform is not `[B, N]`.
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
        """The tensors the signal was made from: its spectrogram, its waveform, or both."""
        return tuple(source for source in (self.spectrogram, self.waveform) if source is not None)

    def detached(self, *, viewed: bool = False) -> "Signal":
        """Return the same signal detached from the graph, with the views computed so far if `viewed`."""
        sources = self.spectrogram, self.waveform
        spectrogram, waveform = (None if source is None else source.detach() for source in sources)
        signal = evolve(self, spectrogram=spectrogram, waveform=waveform)
        if viewed:
            for view, tensor in self._views.items():
                signal.prepare(view, tensor.detach)
        return signal

    @uncompiled
    def view(self, view: View) -> Tensor:
        """Return a view, computed once: in float64 for a float64 signal, in float32 otherwise."""
        if view not in self._views:
            made = self._prepared[view]() if view in self._prepared else view.compute(self)
            self._views[view], self._versions[view] = made, version(made)
        return self._views[view]

    def first(self, count: int) -> "Signal":
        """Return the first `count` examples as a signal, with the waveform if it has been computed."""
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
        """Return whether a view has been computed."""
        return view in self._views

    @property
    def written(self) -> tuple[View, ...]:
        """The views that were written to in place after they were computed."""
        return tuple(view for view, made in self._views.items() if version(made) != self._versions[view])

    def prepare(self, view: View, compute: Callable[[], Tensor]) -> None:
        """Set the function that computes a view when it is first used, in place of `View.compute`."""
        self._prepared[view] = compute


def version(tensor: Tensor) -> int:
    """Return how often a tensor was written to in place, 0 if torch does not count it."""
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001  # there is no public way


@frozen
class Spectrogram(View):
    """Both channels of the representation: `[B, 2, F, T]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the given spectrogram, or that of the waveform."""
        if signal.spectrogram is not None:
            return at_least_float32(signal.spectrogram)
        spectrogram: Tensor = signal.representation(signal.view(Waveform()))
        return spectrogram


@frozen
class Waveform(View):
    """The samples, with full scale 1: `[B, N]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the given waveform, or the inverse of the spectrogram."""
        if signal.waveform is not None:
            return at_least_float32(signal.waveform)
        return signal.representation.inverse(signal.view(Spectrogram()), signal.length, signal.iterations)
