"""Clips to train the base model on: sounds that a program makes, and recordings, changed on the device.

Shapes: `B` clips, `N` samples, `L` samples of a slot, `P` slots.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from synthetic import make_sound
from torch import Tensor

RATE = 44_100
_SLOT = 4 * RATE
_OCTAVES = 1.0
_MIX, _QUIETEST_LAYER = 0.4, -30.0
_GAINS = -24.0, 3.0


def synthetic_slot(seed: int) -> np.ndarray:
    """Make the sound of a seed, cut or padded to a slot `[L]` of float16."""
    sound = make_sound(seed, RATE)[:_SLOT]
    return np.pad(sound, (0, _SLOT - len(sound))).astype(np.float16)


def read_recordings(folder: Path) -> list[np.ndarray]:
    """Read every channel of every recording of a folder, at 44.1 kHz."""
    channels = []
    for path in sorted(folder.rglob("*.*")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        channels += [soxr.resample(channel, rate, RATE) for channel in samples.T]
    return channels


class Sounds:
    """A pool of synthetic sounds, one replaced by the next at every step, and all recordings.

    Which sounds are in the pool at a step, and what is drawn of them, follows from the step alone, so that
    a training that is resumed draws what it would have drawn.
    """

    def __init__(
        self, recordings: Path, device: torch.device, *, slots: int, share: float, step: int
    ) -> None:
        self.device, self.share, self.step = device, share, step
        # Forked, they would inherit locks that torch's threads hold.
        count = max(1, torch.get_num_threads() * 3 // 4)
        self.workers = ProcessPoolExecutor(count, get_context("spawn"))
        self.pool = torch.empty(slots, _SLOT, dtype=torch.float16, device=device)
        for index, slot in enumerate(
            self.workers.map(synthetic_slot, range(step, step + slots), chunksize=8)
        ):
            self._place(step + index, slot)
        self.coming = self._sounds_from(step + slots)
        channels = read_recordings(recordings)
        lengths = torch.tensor([len(channel) for channel in channels])
        self.recorded = torch.from_numpy(np.concatenate(channels)).to(device)
        self.lengths, self.offsets = lengths.to(device), (lengths.cumsum(0) - lengths).to(device)
        self.chances = self.lengths.double().sqrt()

    def _sounds_from(self, seed: int) -> Iterator[np.ndarray]:
        """Make sounds ahead of their use, in order."""
        waiting = []
        while True:
            while len(waiting) < 64:
                waiting.append(self.workers.submit(synthetic_slot, seed))
                seed += 1
            yield waiting.pop(0).result()

    def _place(self, seed: int, slot: np.ndarray) -> None:
        self.pool[seed % len(self.pool)] = torch.from_numpy(slot).to(self.device, non_blocking=True)

    def draw(self, clips: int, samples: int) -> Tensor:
        """Draw the clips of the next step, `[B, N]`: at other speeds, over each other, at other levels."""
        generator = torch.Generator(self.device).manual_seed(self.step)
        mixed = self._played(clips, samples, generator)
        layer = self._played(clips, samples, generator)
        chance, share, level = torch.rand(3, clips, 1, device=self.device, generator=generator)
        mixed = mixed + (chance < _MIX) * layer * 10 ** (share * _QUIETEST_LAYER / 20)
        self._place(self.step + len(self.pool), next(self.coming))
        self.step += 1
        return mixed * 10 ** ((_GAINS[0] + (_GAINS[1] - _GAINS[0]) * level) / 20)

    def _played(self, clips: int, samples: int, generator: torch.Generator) -> Tensor:
        """Play parts of sounds at speeds of half to double."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, device=self.device, generator=generator)

        speed = 2 ** (_OCTAVES * (2 * uniform(clips, 1) - 1))
        slot = (uniform(clips, 1) * len(self.pool)).long()
        which = torch.multinomial(self.chances, clips, replacement=True, generator=generator)[:, None]
        recorded = uniform(clips, 1) < self.share
        length = torch.where(recorded, self.lengths[which], _SLOT)
        # Clips may begin a quarter before a sound, and may run over its end by half.
        span = speed * samples
        start = uniform(clips, 1) * (length - span / 2).clamp(min=1) - span / 4 * uniform(clips, 1)
        place = start + speed * torch.arange(samples, device=self.device)
        below = place.floor()
        within = (below >= 0) & (below < length - 1)
        index = below.long().clamp(min=0).minimum(length - 2)
        share = (place - below).float()
        first = torch.where(recorded, 0, slot * _SLOT)
        offset = torch.where(recorded, self.offsets[which], first)
        flat = self.pool.view(-1)
        made = (offset + index).clamp(max=flat.numel() - 2)
        real = (offset + index).clamp(max=len(self.recorded) - 2)
        before = torch.where(recorded, self.recorded[real], flat[made].float())
        after = torch.where(recorded, self.recorded[real + 1], flat[made + 1].float())
        return torch.lerp(before, after, share) * within
