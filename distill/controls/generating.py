"""The methods of a trained model that make new sounds, with controls.

Shapes: `C` channels, `N` samples. Full scale is 1.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from distill.arguments import finite_number, optional_callable, path_like, shown, whole_number
from distill.audio.corpus.arrays import as_rate, as_samples
from distill.audio.progress import Progress
from distill.audio.soundfiles import Written, require_format, resample, write_audio
from distill.config import suggest
from distill.config.settings import MOST_SEED, MOST_SOUNDS, MOST_STEPS_BETWEEN
from distill.controls.axes import Axes, Axis, axis_values, possible_axes
from distill.controls.morphing import Sound, morph, vary
from distill.controls.steering import Decoded, sound_of
from distill.controls.stored import axes_of, checksum_of, stored_axes
from distill.errors import InputError, shortened
from distill.model import VAE, sounds
from distill.model.arguments import seconds_like, temperature_like, waveform_like
from distill.model.mixing import Statistics
from distill.model.sounds import Encoded
from distill.spectral.representation import MagnitudeIF
from distill.storage.files import require_writable
from distill.storage.run import Run

_LONGEST_SECONDS = 60
"""The longest sound to start from, whose latents are held as a whole."""


class SoundGenerator:
    """The base class of `distill.Model` that makes new sounds of the latents of a run."""

    vae: VAE
    representation: MagnitudeIF
    run: Run | None
    latents: dict[str, Encoded]

    def _axes_run(self) -> Run | None:
        """Return the run in whose folder axes are stored, if any."""
        return self.run

    @cached_property
    def _axes(self) -> Axes:
        return self._measured_axes(lambda _: None)

    def _measured_axes(self, on_progress: Callable[[Progress], None]) -> Axes:
        return axes_of(self._axes_run(), self.vae, self.representation, self.latents, on_progress)

    @cached_property
    def _statistics(self) -> Statistics:
        return sounds.bank_statistics(self.vae, self.representation, [*self.latents.values()])

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes along which `generate` moves sounds, each measured on generated sounds.

        The first ones are descriptors, as far as generated sounds follow them: brightness, loudness,
        noisiness, attack. The others are the principal axes of the latents. They are measured at first use,
        which takes about 10 seconds on a CPU core, and stored in the run folder.

        Raises:
            RunError: the training run is not finished, or this is the base model.
        """
        return self._axes.axes

    def measure_axes(
        self,
        *,
        positions: Mapping[str, float] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Axis, ...]:
        """Return `axes`, and report the progress if they are not in the run folder yet.

        Args:
            positions: the `axes` that `generate` will be called with. Those that no model can have are
                refused before anything is measured.
            on_progress: called with a `Progress` of the stage `axes` while they are measured.

        Raises:
            InputError: `on_progress` cannot be called, or a position cannot be one of any model.
            RunError: the training run is not finished, or this is the base model.
        """
        tell = optional_callable(on_progress, culprit="on_progress")
        run = self._axes_run()
        if positions is not None and "_axes" not in self.__dict__ and not (run and stored_axes(run)):
            axis_values(positions, possible_axes())
        if tell is not None and "_axes" not in self.__dict__:
            self._axes = self._measured_axes(tell)
        return self.axes

    @property
    def checksum(self) -> str:
        """The checksum of the model and of its latents, if it has any: 32 hexadecimal digits."""
        return checksum_of(self.vae, {} if self.run is None else self.latents)

    def write(
        self,
        sound: Tensor,
        path: str | os.PathLike[str],
        *,
        controls: Mapping[str, object] | None = None,
        limit: bool = True,
        overwrite: bool = False,
    ) -> Written:
        """Write a sound that the model made as WAV or, if the name ends in `.flac`, as FLAC, with 24 bits.

        The comment in the file is "Made by Distill: " and JSON: `run`, its name; `checksum`; and `controls`.

        Args:
            sound: a waveform `[C, N]` at the model's sample rate.
            path: the file to write.
            controls: what the sound was made with, as plain data, such as `{"seed": 0, "axes": {...}}`.
            limit: turn a sound with a peak above 1 down to a peak of 1. Where this would make it quieter than
                the recordings (their 5th percentile), its peaks are limited, by 12 dB at most. Without
                `limit`, it is written as 32-bit float.
            overwrite: replace the file if it exists.

        Returns:
            What was written: its path, its peak, and by how much it and its peaks were turned down.

        Raises:
            OutputError: the file exists already.
            RunError: the file cannot be written.
            InputError: the sound is no waveform, or exceeds full scale and is not limited, and the format is
                FLAC; the name stands for another audio format; or `controls` are no plain data by name.
        """
        place = path_like(path, culprit="path", expected="a path")
        require_format(place, "WAV", "FLAC")
        require_writable([place], overwrite=overwrite, instead="path")
        samples = torch.from_numpy(as_samples(sound, culprit="sound")).T
        name = "base" if self.run is None else self.run.folder.absolute().name
        made_with = {"run": name, "checksum": self.checksum, **_plain(controls)}
        return write_audio(
            place,
            samples,
            self.representation.sample_rate,
            limit=limit,
            quietest=-math.inf if self.run is None else sounds.quietest(self.vae, self._statistics),
            made_with=made_with,
        )

    def generate(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        seconds: float | None = None,
        axes: Mapping[str, float] | None = None,
    ) -> list[Tensor]:
        """Generate new sounds as a list of waveforms `[C, N]` at the model's sample rate.

        Each sound combines the low bands of one training recording with the high bands of another. It is
        stereo if either of them is. The first sounds do not depend on `count`. A peak may exceed 1.

        Args:
            count: the number of sounds.
            seed: the random seed.
            temperature: the scale of the random deviation from the recordings; 0 only mixes them.
            seconds: the length of each sound. Default: the mean length of the two recordings.
            axes: positions along `axes` by name, such as `{"brightness": 0.5, "axis 2": -1}`, relative to the
                sound without them: descriptors in their units, principal axes in standard deviations.

        Raises:
            InputError: an argument is out of bounds, or there is no such axis.
            RunError: the training run is not finished, or this is the base model.
        """
        return list(self.iter_generate(count, seed=seed, temperature=temperature, seconds=seconds, axes=axes))

    def iter_generate(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        seconds: float | None = None,
        axes: Mapping[str, float] | None = None,
    ) -> Iterator[Tensor]:
        """Return an iterator over the sounds that `generate` returns. Arguments are checked at once."""
        count = whole_number(count, culprit="count", least=1, below=MOST_SOUNDS + 1)
        seed = whole_number(seed, culprit="seed", least=0, below=MOST_SEED + 1)
        temperature = temperature_like(temperature)
        seconds = None if seconds is None else seconds_like(seconds)
        bank = [*self.latents.values()]
        values = {} if axes is None else axis_values(axes, self.measure_axes(positions=axes))
        generator = torch.Generator().manual_seed(seed)

        def make() -> Tensor:
            drawn, samples = sounds.draw(
                self.vae,
                self.representation,
                bank,
                self._statistics,
                generator=generator,
                temperature=temperature,
                seconds=seconds,
            )
            if not any(values.values()):
                return sounds.decode(
                    self.vae,
                    self.representation,
                    drawn.latents,
                    samples,
                    drawn.coherence,
                    contrast=drawn.contrast,
                )
            decoded = Decoded.of(self.vae, self.representation, drawn, samples)
            return sound_of(self.vae, self.representation, decoded, self._axes.directions, values)

        return (make() for _ in range(count))

    def between(
        self,
        a: Any,  # noqa: ANN401  # a name or an array
        b: Any,  # noqa: ANN401  # as above
        steps: int = 8,
        *,
        sample_rate: int | None = None,
        seed: int = 0,
    ) -> list[Tensor]:
        """Morph from one sound to another: return `steps` waveforms `[C, N]` at the model's sample rate.

        The first and the last are the reconstructions of `a` and `b`. In between, the latents of both are
        resized to a common length by linear interpolation, and then interpolated, which interpolates levels
        in decibels. The length goes from that of `a` to that of `b`. A peak may exceed 1.

        Args:
            a: a waveform `[N]` or `[C, N]` of one or two channels and at most a minute; or the name of a
                training recording, a key of `latents`, of which the first minute is taken.
            b: another one.
            steps: the number of sounds.
            sample_rate: the sample rate of the waveforms in Hz. Default: that of the model.
            seed: the random seed of the noise in the sounds between the ends.

        Raises:
            InputError: an argument is out of bounds, or there is no recording of that name.
            RunError: a name is given, and the training run is not finished, or this is the base model.
        """
        steps = whole_number(steps, culprit="steps", least=2, below=MOST_STEPS_BETWEEN + 1)
        seed = whole_number(seed, culprit="seed", least=0, below=MOST_SEED + 1)
        first, second = (self._sound(each, sample_rate, culprit=name) for each, name in ((a, "a"), (b, "b")))
        shares = [step / (steps - 1) for step in range(steps)]
        return [morph(self.vae, self.representation, first, second, share, seed) for share in shares]

    def near(
        self,
        sound: Any,  # noqa: ANN401  # a name or an array
        amount: float = 0.5,
        count: int = 1,
        *,
        seed: int = 0,
        sample_rate: int | None = None,
    ) -> list[Tensor]:
        """Vary a sound: return `count` waveforms `[C, N]` at the model's sample rate.

        The latents are interpolated towards those of new sounds of the same length, as `generate` draws them.
        A variation has as many channels as the sound. A peak may exceed 1.

        Args:
            sound: a waveform or the name of a training recording, as in `between`.
            amount: how far the latents are moved, from 0 for the reconstruction to 1 for sounds as varied as
                those that `generate` makes of the training recordings.
            count: the number of variations. The first ones do not depend on it.
            seed: the random seed.
            sample_rate: the sample rate of the waveform in Hz. Default: that of the model.

        Raises:
            InputError: an argument is out of bounds, or there is no recording of that name.
            RunError: the training run is not finished, or this is the base model.
        """
        count = whole_number(count, culprit="count", least=1, below=MOST_SOUNDS + 1)
        seed = whole_number(seed, culprit="seed", least=0, below=MOST_SEED + 1)
        remedy = "0 leaves the sound as it is, and 1 is as varied as new sounds."
        amount = finite_number(amount, culprit="amount", within=(0, 1), remedy=remedy)
        bank = [*self.latents.values()]
        start = self._sound(sound, sample_rate, culprit="sound")
        generator = torch.Generator().manual_seed(seed)
        return [
            vary(self.vae, self.representation, start, bank, self._statistics, amount, generator=generator)
            for _ in range(count)
        ]

    @torch.no_grad()
    def _sound(self, given: Any, sample_rate: int | None, *, culprit: str) -> Sound:  # noqa: ANN401  # as above
        """Return the sound that a waveform or the name of a recording stands for."""
        vae, representation = self.vae, self.representation
        if isinstance(given, str):
            bank = self.latents
            if given not in bank:
                raise InputError(
                    f"there is no training recording {given!r}{suggest(given, bank)}",
                    culprit=culprit,
                    remedy=f"Pass a waveform, or one of: {shortened([*bank])}.",
                )
            entry = bank[given]
            samples = sounds.length_of(vae, representation, entry)
            made = sounds.decode(vae, representation, entry.latents, samples, entry.coherence)
            return Sound(encoded=entry, samples=samples, reconstruction=made)
        waveform = waveform_like(given)
        if sample_rate is not None:
            rate = as_rate(sample_rate, culprit="sample_rate")
            waveform = resample(waveform, rate, representation.sample_rate)
        if len(waveform) > 2:
            problem = f"expected one or two channels, got {len(waveform)}"
            raise InputError(problem, culprit=culprit, remedy="Mix them down to two, or take two of them.")
        seconds = waveform.shape[-1] / representation.sample_rate
        if seconds > _LONGEST_SECONDS:
            problem = f"expected at most {_LONGEST_SECONDS} s, got {seconds:.1f} s"
            raise InputError(problem, culprit=culprit, remedy="Cut it.")
        return Sound(
            encoded=sounds.encode(vae, representation, waveform),
            samples=waveform.shape[-1],
            reconstruction=sounds.reconstruct(vae, representation, waveform),
        )


def _plain(controls: object) -> Mapping[str, object]:
    """Return controls that can be written as JSON.

    Raises:
        InputError: they are no plain data by name.
    """
    if controls is None:
        return {}
    problem = f"expected plain data by name, got {shown(controls)}"
    if isinstance(controls, Mapping):
        try:
            json.dumps(dict(controls), allow_nan=False)
        except (RecursionError, TypeError, ValueError) as error:
            problem += f": {error}"
        else:
            return controls
    remedy = 'Pass a dict of numbers, text and the like, such as {"seed": 0}.'
    raise InputError(problem, culprit="controls", remedy=remedy)
