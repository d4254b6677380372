"""Training clips of the base model: synthetic sounds and recordings, augmented on the device.

Shapes: `B` clips, `N` samples, `L` samples of a slot.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from synthetic import make_sound
from torch import Tensor

RATE = 44_100
_SLOT = 4 * RATE
_QUIETEST_LAYER = -30.0


class Changes(NamedTuple):
    """How clips differ from the sounds that they are parts of."""

    octaves: float = 1.0
    """They are played slower and faster by up to so many octaves."""
    same: float = 0.0
    """The share of clips that are played as they are."""
    whole: float = 0.0
    """The share that begins with a sound, as recordings do. The others begin anywhere."""
    mixed: float = 0.4
    """The share that is mixed with a second sound."""
    gains: tuple[float, float] = (-24.0, 3.0)
    """The range of gains, in dB."""


def synthetic_slot(seed: int) -> np.ndarray:
    """Return the sound of a seed as float16, cropped or padded to a slot `[L]`."""
    sound = make_sound(seed, RATE)[:_SLOT]
    return np.pad(sound, (0, _SLOT - len(sound))).astype(np.float16)


def read_recordings(folder: Path) -> list[np.ndarray]:
    """Return all channels of all recordings in a folder, at 44.1 kHz."""
    channels = []
    for path in sorted(folder.rglob("*.*")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        channels += [soxr.resample(channel, rate, RATE) for channel in samples.T]
    return channels


class Sounds:
    """A pool of synthetic sounds, `fresh` of which are replaced in each step, and all recordings.

    Drawing does not synchronize with the device. The content of the pool and the draws depend only on the
    step, so that a resumed training run draws the same clips as an uninterrupted one.
    """

    def __init__(
        self,
        recordings: Path,
        device: torch.device,
        *,
        slots: int,
        share: float,
        step: int,
        fresh: int = 1,
        workers: int | None = None,
        changes: Changes | None = None,
    ) -> None:
        self.device, self.share, self.step, self.fresh = device, share, step, fresh
        self.changes = changes or Changes()
        # Forked processes would inherit locks held by torch's threads.
        count = workers or max(1, torch.get_num_threads() * 3 // 4)
        self.workers = ProcessPoolExecutor(count, get_context("spawn"))
        self.pool = torch.empty(slots, _SLOT, dtype=torch.float16, device=device)
        first = step * fresh
        seeds = range(first, first + slots)
        for seed, slot in zip(seeds, self.workers.map(synthetic_slot, seeds, chunksize=8), strict=True):
            self._place(seed, slot)
        self.coming = self._sounds_from(first + slots)
        channels = read_recordings(recordings)
        lengths = torch.tensor([len(channel) for channel in channels])
        self.recorded = torch.from_numpy(np.concatenate(channels)).to(device)
        self.lengths, self.offsets = lengths.to(device), (lengths.cumsum(0) - lengths).to(device)
        self.chances = self.lengths.double().sqrt().cumsum(0)

    def close(self) -> None:
        """End the worker processes."""
        self.workers.shutdown(cancel_futures=True)

    def _sounds_from(self, seed: int) -> Iterator[np.ndarray]:
        """Yield sounds in order, made in advance by the workers."""
        waiting: deque[Future[np.ndarray]] = deque()
        while True:
            while len(waiting) < max(64, 16 * self.fresh):
                waiting.append(self.workers.submit(synthetic_slot, seed))
                seed += 1
            yield waiting.popleft().result()

    def _place(self, seed: int, slot: np.ndarray) -> None:
        made = torch.from_numpy(slot)
        if self.device.type == "cuda":
            made = made.pin_memory()
        self.pool[seed % len(self.pool)] = made.to(self.device, non_blocking=True)

    def draw(self, clips: int, samples: int) -> Tensor:
        """Draw the clips of the next step, `[B, N]`, with random speeds, mixes and levels."""
        generator = torch.Generator(self.device).manual_seed(self.step)
        mixed = self._played(clips, samples, generator)
        layer = self._played(clips, samples, generator)
        chance, share, level = torch.rand(3, clips, 1, device=self.device, generator=generator)
        mixed = mixed + (chance < self.changes.mixed) * layer * 10 ** (share * _QUIETEST_LAYER / 20)
        for number in range(self.fresh):
            self._place(self.step * self.fresh + number + len(self.pool), next(self.coming))
        self.step += 1
        quietest, loudest = self.changes.gains
        return mixed * 10 ** ((quietest + (loudest - quietest) * level) / 20)

    def _played(self, clips: int, samples: int, generator: torch.Generator) -> Tensor:
        """Return parts of sounds, as they are or at other speeds."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, device=self.device, generator=generator)

        changes = self.changes
        speed = 2 ** (changes.octaves * (2 * uniform(clips, 1) - 1))
        slot = (uniform(clips, 1) * len(self.pool)).long()
        # Inverse transform sampling: `torch.multinomial` may synchronize with the device.
        which = torch.searchsorted(self.chances, uniform(clips, 1).double() * self.chances[-1], right=True)
        which = which.clamp(max=len(self.chances) - 1)
        recorded = uniform(clips, 1) < self.share
        length = torch.where(recorded, self.lengths[which], _SLOT)
        # Clips may begin a quarter before a sound, and may extend beyond its end by half.
        span = speed * samples
        start = uniform(clips, 1) * (length - span / 2).clamp(min=1) - span / 4 * uniform(clips, 1)
        if changes.same:
            same = uniform(clips, 1) < changes.same
            speed, start = torch.where(same, 1.0, speed), torch.where(same, start.floor(), start)
        if changes.whole:
            start = torch.where(uniform(clips, 1) < changes.whole, 0.0, start)
        place = start + speed * torch.arange(samples, device=self.device)
        below = place.floor()
        within = (below >= 0) & (below < length - 1)
        index = below.long().clamp(min=0).minimum(length - 2)
        share = (place - below).float()
        offset = torch.where(recorded, self.offsets[which], slot * _SLOT)
        flat = self.pool.view(-1)
        made = (offset + index).clamp(max=flat.numel() - 2)
        real = (offset + index).clamp(max=len(self.recorded) - 2)
        before = torch.where(recorded, self.recorded[real], flat[made].float())
        after = torch.where(recorded, self.recorded[real + 1], flat[made + 1].float())
        return torch.lerp(before, after, share) * within
