"""Random clips from a stream of shards, a few of which are held in memory at a time.

Shapes: `B` clips, `S` samples of a clip, `C` channels, `N` samples of a recording's channel.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from distill.audio.corpus.background import begun
from distill.audio.corpus.cache import Recording
from distill.audio.corpus.clips import Split
from distill.audio.corpus.shards import Manifest, read_shard
from distill.errors import CorpusError
from distill.storage.memory import in_words, machine_memory


class Stream:
    """An endless stream of the training shards at `location`, in another order in each pass.

    The shards of a pass are distributed over the processes in turn. Each process holds a pool of
    `pool_shards` shards, from which clips are drawn as from a `Split`. When the drawn clips amount to the
    average length of a shard, the oldest shard in the pool is replaced by the next, which a thread reads in
    advance. Draws depend only on the seed, the generator and the number of clips drawn before, so the state
    consists of this number, and of the position of the pool, from which recordings are read after the
    training.
    """

    def __init__(
        self, location: str, manifest: Manifest, *, pool_shards: int, seed: int, process: int, processes: int
    ) -> None:
        self.location, self.manifest, self.seed = location, manifest, seed
        self.process, self.processes = process, processes
        self.sample_rate, self.shards = manifest.sample_rate, manifest.train
        self.pool_shards = min(pool_shards, -(-len(self.shards) // processes))
        # One additional slot holds the shard that is being read.
        largest = max(shard.samples for shard in self.shards)
        needed = (self.pool_shards + 1) * largest * np.dtype(np.float32).itemsize
        if needed > machine_memory():
            raise CorpusError(
                f"{self.pool_shards + 1} of its shards need {in_words(needed)} of memory, and there are "
                f"{in_words(machine_memory())}",
                culprit=location,
                remedy="Lower corpus.pool_shards, or write smaller shards: distill shard --minutes",
            )
        self._slots = np.zeros((self.pool_shards + 1, largest), np.float32)
        self._held: list[tuple[int, list[Recording]]] = [(-1, [])] * len(self._slots)
        self._reading: Future[None] | None = None
        self._drawn, self._position = 0, 0
        self._pool: Split | None = None

    @property
    def seconds(self) -> float:
        """The total length of all shards, in seconds."""
        return sum(shard.frames for shard in self.shards) / self.sample_rate

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """The pieces of recordings in the pool."""
        return self._hold(self._position).recordings

    def read(self, recording: Recording, start: int = 0, stop: int | None = None) -> Tensor:
        """Return one of `recordings`, `[C, N]`, or its samples from `start` to `stop`."""
        return self._hold(self._position).read(recording, start, stop)

    def draw(
        self, clips: int, samples: int, generator: torch.Generator, rows: Sequence[int] | None = None
    ) -> Tensor:
        """Draw random clips `[B, S]` with a generator on the CPU that is equal in all processes.

        Of the `clips` of all processes, this process draws as many as it has `rows`.

        Raises:
            CorpusError: a shard cannot be read, or is truncated or damaged.
        """
        count = clips if rows is None else len(rows)
        pool, own = self._pool_for(samples, generator)
        self._drawn += count
        return pool.draw(count, samples, own)

    def names_of(self, clips: int, samples: int, generator: torch.Generator) -> list[str]:
        """Return the recording of each clip that `draw` would return in this process."""
        pool, own = self._pool_for(samples, generator)
        return pool.names_of(-(-clips // self.processes), samples, own)

    def _pool_for(self, samples: int, generator: torch.Generator) -> tuple[Split, torch.Generator]:
        """Return the pool of the next clips of `samples`, and the generator for this process."""
        stay = sum(shard.frames for shard in self.shards) / len(self.shards) / samples
        pool = self._hold(int(self._drawn / max(stay, 1)))
        seed = int(torch.randint(2**62, (), generator=generator)) + self.process
        return pool, torch.Generator().manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the stream, which is equal in all processes."""
        return {"drawn": self._drawn, "position": self._position, "processes": self.processes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position that `state_dict` returned.

        Raises:
            CorpusError: the state is from another number of processes.
        """
        if state["processes"] != self.processes:
            raise CorpusError(
                f"its shards were divided among {state['processes']} processes, and now there are "
                f"{self.processes}",
                culprit=self.location,
                remedy=f"Go on with as many: torchrun with {state['processes']} processes in all.",
            )
        self._drawn = state["drawn"]
        self._pool, self._position = None, state.get("position", 0)  # Distill 0.2.0 saved none

    def _hold(self, position: int) -> Split:
        """Fill the pool with the shards from `position` on, and start reading the next one."""
        if self._pool is not None and position == self._position:
            return self._pool
        if self._reading is not None:
            self._reading.result()
        wanted = range(position, position + self.pool_shards)
        for number in wanted:
            if self._held[number % len(self._slots)][0] != number:
                self._fill(number)
        recordings = [
            attrs.evolve(each, offset=each.offset + slot * self._slots.shape[1])
            for slot, (number, held) in enumerate(self._held)
            if number in wanted
            for each in held
        ]
        self._pool = Split(tuple(recordings), self.sample_rate, self._slots.reshape(-1))
        self._position = position
        self._reading = begun(partial(self._fill, wanted.stop))
        return self._pool

    def _fill(self, number: int) -> None:
        """Read this process's shard `number`, counted over all passes, into its slot."""
        lap, index = divmod(number * self.processes + self.process, len(self.shards))
        order = torch.randperm(len(self.shards), generator=torch.Generator().manual_seed(self.seed + lap))
        slot = number % len(self._slots)
        shard = self.shards[int(order[index])]
        self._held[slot] = number, read_shard(self.location, shard, self._slots[slot])
