"""The sounds of a run's model as the page asks for them, and what the page shows of the run.

Shapes: `C` channels, `N` samples.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from attrs import evolve, frozen
from torch import Tensor

from distill.audio.progress import Progress
from distill.audio.soundfiles import read_audio, resample
from distill.controls.axes import Axes, Axis, axis_values
from distill.controls.morphing import interpolated, varied
from distill.controls.steering import SHAPED, Decoded, shaped, sound_of
from distill.controls.stored import axes_of
from distill.errors import InputError
from distill.inference import Model, load
from distill.model.mixing import Statistics, stretched
from distill.model.sounds import Encoded, bank_statistics, code_of, draw, encode, length_of
from distill.playing.requirements import uses_checkpoint
from distill.playing.sound import LONGEST, Between, Near, Random, Recording, Sound, Source
from distill.reporting.latents import positions_of
from distill.storage.ending import ending_of
from distill.storage.run import Run

_MOST_MADE = 64
"""As many sounds, and latents, are kept, so that what was heard before is there at once."""

_MOST_OWN = 32


@frozen(kw_only=True)
class MapPoint:
    """A recording on the map, whose axes are the first two principal components of the latents."""

    name: str
    x: float
    y: float


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Recent(OrderedDict[_Key, _Value]):
    """A dict of the values that were kept last, at most so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: _Key, value: _Value) -> _Value:
        """Keep a value as the last one, and return it."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
        return value


class Instrument:
    """A run's model, and the sounds that were made with it. One sound is made at a time.

    `note` says which checkpoint is used, if it is one. `own` are files of the user by their digests.
    """

    def __init__(self, model: Model, run: Run, *, note: str = "") -> None:
        self.model, self.run, self.note = model, run, note
        self._made: _Recent[Sound, Tensor] = _Recent(_MOST_MADE)
        self._drawn: _Recent[tuple[Source, float | None], tuple[Encoded, int]] = _Recent(_MOST_MADE)
        self._decoded: _Recent[tuple[Source, float | None], Decoded] = _Recent(1)
        self._own: _Recent[str, Encoded] = _Recent(_MOST_OWN)
        self._busy = threading.Lock()

    @classmethod
    def open(cls, run: Run) -> "Instrument":
        """Load the model of a run: that of its last checkpoint if the run is not finished.

        Raises:
            RunError: the folder is not a run, or holds no model or no latents yet.
            ConfigError: the recipe of the run is not valid.
        """
        run.require()
        if not uses_checkpoint(run):
            return cls(load(run), run)
        model = load(run, checkpoint="last")
        doing = "is still training" if ending_of(run).state == "running" else "is not finished"
        return cls(model, run, note=f"The run {doing}: these are the sounds of its last checkpoint.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the recordings."""
        return tuple(self.model.latents)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the run, which are measured at first use."""
        return self._axes.axes

    @cached_property
    def checksum(self) -> str:
        """The checksum of the model and of its latents."""
        return self.model.checksum

    @cached_property
    def places(self) -> tuple[MapPoint, ...]:
        """The recordings on the map."""
        positions, _ = positions_of([*self.model.latents.values()])
        return tuple(
            MapPoint(name=name, x=float(x), y=float(y))
            for name, (x, y) in zip(self.names, positions, strict=True)
        )

    @cached_property
    def _axes(self) -> Axes:
        return self._measured_axes(lambda _: None)

    def measure_axes(self, on_progress: Callable[[Progress], None]) -> None:
        """Measure the axes, unless the run folder has them, and report the progress."""
        self._axes = self._measured_axes(on_progress)

    def _measured_axes(self, on_progress: Callable[[Progress], None]) -> Axes:
        model = self.model
        # Those of a checkpoint are of another model than the run's will be.
        kept = None if self.note else self.run
        return axes_of(kept, model.vae, model.representation, model.latents, on_progress)

    @cached_property
    def _statistics(self) -> Statistics:
        return bank_statistics(self.model.vae, self.model.representation, [*self.model.latents.values()])

    def waveform(self, sound: Sound) -> Tensor:
        """Return the waveform `[C, N]` of a sound.

        Raises:
            InputError: it is made of a recording that the run does not have, or along an axis that the model
                does not have.
        """
        with self._busy:
            return self._cached(sound)

    def _cached(self, sound: Sound) -> Tensor:
        made = self._made.get(sound)
        return self._made.keep(sound, self._make(sound) if made is None else made)

    def seconds(self, sound: Sound) -> float:
        """Return the length of a sound in seconds."""
        return self.waveform(sound).shape[-1] / self.model.sample_rate

    def add(self, path: Path, name: str) -> Recording:
        """Read a file of the user, of which sounds can be made from then on.

        Raises:
            CorpusError: the file cannot be decoded.
            InputError: it is silent, or too long.
        """
        waveform, rate = read_audio(path)
        if waveform.shape[-1] > LONGEST * rate:
            raise InputError(
                f"lasts {waveform.shape[-1] / rate:.0f} s, and {LONGEST:g} s at most are read",
                culprit=name,
                remedy="Cut the part that you want to hear.",
            )
        if not waveform.any():
            raise InputError("is silent", culprit=name)
        heard = hashlib.blake2b(f"{rate} {len(waveform)} ".encode(), digest_size=16)
        heard.update(waveform.numpy().tobytes())
        digest = heard.hexdigest()
        with self._busy:
            resampled = resample(waveform, rate, self.model.sample_rate)
            self._own.keep(digest, encode(self.model.vae, self.model.representation, resampled))
        return Recording(name=name, own=digest)

    @torch.no_grad()
    def _make(self, sound: Sound) -> Tensor:
        model, values = self.model, axis_values(dict(sound.axes), self._axes.axes)
        if values.keys() & SHAPED:  # of the same latents, which need not be decoded again
            plain = evolve(sound, axes=tuple(each for each in sound.axes if each[0] not in SHAPED))
            return shaped(self._cached(plain), model.sample_rate, values)
        decoded = self._without_axes(sound.source, sound.seconds)
        return sound_of(model.vae, model.representation, decoded, self._axes.directions, values)

    def _without_axes(self, source: Source, seconds: float | None) -> Decoded:
        """Return the sound of a source, of which the last one is kept: it may be moved along axes next.

        It takes some megabytes a second.
        """
        known = self._decoded.get((source, seconds))
        if known is not None:
            return known
        model = self.model
        encoded, samples = self._latents(source, seconds)
        if seconds is not None and not isinstance(source, Random):
            samples = int(seconds * model.sample_rate)
            encoded = self._stretched(encoded, samples)
        decoded = Decoded.of(model.vae, model.representation, encoded, samples)
        return self._decoded.keep((source, seconds), decoded)

    def _latents(self, source: Source, seconds: float | None) -> tuple[Encoded, int]:
        """Return what `_encoded` does, which is kept: a variation needs all that it is a variation of."""
        known = self._drawn.get((source, seconds))
        return self._drawn.keep((source, seconds), self._encoded(source, seconds) if known is None else known)

    def _encoded(self, source: Source, seconds: float | None) -> tuple[Encoded, int]:
        """Return the latents of a source, and its length in samples.

        Raises:
            InputError: it is made of a recording that is not there.
        """
        model, bank = self.model, self.model.latents
        vae, representation = model.vae, model.representation
        match source:
            case Random(seed=seed):
                generator = torch.Generator().manual_seed(seed)
                return draw(
                    vae,
                    representation,
                    [*bank.values()],
                    self._statistics,
                    generator=generator,
                    seconds=seconds,
                )
            case Recording(own=own, name=name):
                known = self._own.get(own) if own else bank.get(name)
                if known is None:
                    where = "files of yours any more: drop it again" if own else "recordings of the run"
                    raise InputError(f"is not among the {where}", culprit=name)
                return known, length_of(vae, representation, known)
            case Between(first=first, second=second, position=position):
                ends = [self._latents(each, None) for each in (first, second)]
                if position in (0, 1):
                    return ends[round(position)]
                return interpolated(vae, representation, ends[0], ends[1], position)
            case Near(origin=origin, amount=amount, seed=seed):
                start = self._latents(origin, seconds)
                generator = torch.Generator().manual_seed(seed)
                made = varied(
                    vae, representation, start, [*bank.values()], self._statistics, amount, generator
                )
                return made, start[1]

    @torch.no_grad()
    def _stretched(self, encoded: Encoded, samples: int) -> Encoded:
        """Return latents resized to a length in samples, by linear interpolation of the rich code."""
        vae, representation = self.model.vae, self.model.representation
        frames = vae.code_frames(representation.frames(samples))
        code = stretched(code_of(vae, representation, encoded), frames)
        return evolve(encoded, latents=vae.reduce(code).cpu(), samples=samples)
