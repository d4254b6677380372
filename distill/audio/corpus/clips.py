"""Random clips from the recordings of a split.

Shapes: `B` clips, `S` samples of a clip, `C` channels, `N` samples of a recording's channel.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Tensor

from distill.audio.corpus.cache import Recording
from distill.audio.corpus.samples import Samples


@frozen(eq=False)
class Split:
    """A subset of a corpus's recordings, possibly empty. `samples` is the cache of the whole corpus."""

    recordings: tuple[Recording, ...]
    sample_rate: int
    _samples: Samples = field(repr=False)
    _lengths: Tensor = field(init=False, repr=False)
    _channels: Tensor = field(init=False, repr=False)
    heard: NDArray[np.int64] = field(init=False, repr=False)
    """The number of clips that were drawn of each recording so far."""

    @_lengths.default
    def _measure_lengths(self) -> Tensor:
        return torch.tensor([recording.samples for recording in self.recordings], dtype=torch.int64)

    @_channels.default
    def _measure_channels(self) -> Tensor:
        return torch.tensor([recording.channels for recording in self.recordings], dtype=torch.int64)

    @heard.default
    def _hear_nothing(self) -> NDArray[np.int64]:
        return np.zeros(len(self.recordings), np.int64)

    @property
    def seconds(self) -> float:
        """The total length of all recordings, in seconds."""
        return sum(recording.samples for recording in self.recordings) / self.sample_rate

    def with_recordings(self, recordings: Iterable[Recording]) -> "Split":
        """Return a split of other recordings of the same corpus."""
        return Split(tuple(recordings), self.sample_rate, self._samples)

    def read(self, recording: Recording, start: int = 0, stop: int | None = None) -> Tensor:
        """Return a recording `[C, N]`, or its samples from `start` to `stop` without reading the others."""
        stop = recording.samples if stop is None else min(stop, recording.samples)
        return torch.from_numpy(np.array(self._read(recording, start, stop).T, np.float32, order="C"))

    def draw(
        self, clips: int, samples: int, generator: torch.Generator, rows: Sequence[int] | None = None
    ) -> Tensor:
        """Draw random clips `[B, S]`, or only some `rows` of them, with a generator on the CPU.

        The probability of a recording is proportional to the fourth root of its length. With a probability
        proportional to the length, a few long recordings would dominate; with equal probabilities, minutes of
        material would count as much as a click. The channel is drawn uniformly. A recording shorter than the
        clip is placed at a random position among zeros. Clips of longer recordings may extend beyond either
        end by up to a quarter, so that starts and ends are learnt, too.
        """
        drawn = self._choose(clips, samples, generator)
        wanted = drawn.tolist() if rows is None else drawn[list(rows)].tolist()
        out = np.zeros((len(wanted), samples), np.float32)
        for row, (index, channel, start) in zip(out, wanted, strict=True):
            recording = self.recordings[index]
            begin, end = max(start, 0), min(start + samples, recording.samples)
            row[begin - start : end - start] = self._read(recording, begin, end)[:, channel]
            self.heard[index] += 1
        return torch.from_numpy(out)

    def names_of(self, clips: int, samples: int, generator: torch.Generator) -> list[str]:
        """Return the recording of each clip that `draw` would return, without reading it."""
        indices = self._choose(clips, samples, generator)[:, 0].tolist()
        return [self.recordings[index].name for index in indices]

    def _choose(self, clips: int, samples: int, generator: torch.Generator) -> Tensor:
        """Draw recording, channel and start of each clip: `[B, 3]`."""
        chosen = torch.multinomial(
            self._lengths.double() ** 0.25, clips, replacement=True, generator=generator
        )
        lengths = self._lengths[chosen]
        channels = _draw_below(self._channels[chosen], generator)
        over = torch.where(lengths < samples, 0, samples // 4)
        first = (lengths - samples).clamp(max=0) - over
        last = (lengths - samples).clamp(min=0) + over
        starts = first + _draw_below(last - first + 1, generator)
        return torch.stack([chosen, channels, starts], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state, since draws depend only on the generator."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""

    def _read(self, recording: Recording, begin: int, end: int) -> NDArray[np.float32]:
        """Return the samples from `begin` to `end` of a recording's channels: `[N, C]`."""
        channels = recording.channels
        part = slice(recording.offset + begin * channels, recording.offset + end * channels)
        return self._samples[part].reshape(-1, channels)


def _draw_below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a random integer from 0 up to, but not including, each of `limits`."""
    return (torch.rand(limits.shape, dtype=torch.float64, generator=generator) * limits).long()
