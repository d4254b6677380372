"""The held-out loss: measured on the same clips each time, without those that give no number.

Shapes: `B` clips, `N` samples.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from distill.audio.corpus import Split
from distill.errors import shortened
from distill.loss.components import TOTAL

_CLIPS = 16

Compute = Callable[[Tensor], Mapping[str, Tensor]]
"""The function that returns the components of the loss of clips `[B, N]`."""


class HeldoutClips:
    """Measures the loss on held-out clips of `samples`, which are the same each time.

    `problem` describes why the latest measurement was not finite, "" if it was. The clips that are the cause
    are left out from then on.
    """

    def __init__(self, split: Split, samples: int, seed: int, device: torch.device) -> None:
        self.split, self.samples, self.seed, self.device = split, samples, seed, device
        self.problem = ""
        self._rows = list(range(_CLIPS))

    @torch.no_grad()
    def measure(self, compute: Compute) -> dict[str, float]:
        """Return the components of the loss of the clips, none if nothing is held out."""
        if not self.split.recordings:
            return {}
        names, clips = self._clips()
        means = _values(compute(clips))
        self.problem = ""
        if math.isfinite(means[TOTAL]):
            return means
        bad = [row for row in range(len(clips)) if not _is_finite(compute(clips[row : row + 1]))]
        self.problem = _in_words(means, [names[row] for row in bad], clips[bad])
        if not 0 < len(bad) < len(clips):
            return means
        self._rows = [row for number, row in enumerate(self._rows) if number not in bad]
        return _values(compute(self._clips()[1]))

    def _clips(self) -> tuple[list[str], Tensor]:
        """Return the recordings of the clips, and the clips `[B, N]`."""
        drawn = _CLIPS, self.samples
        names = self.split.names_of(*drawn, torch.Generator().manual_seed(self.seed))
        clips = self.split.draw(*drawn, torch.Generator().manual_seed(self.seed))
        return [names[row] for row in self._rows], clips[self._rows].to(self.device)


def _values(components: Mapping[str, Tensor]) -> dict[str, float]:
    return dict(zip(components, torch.stack(list(components.values())).tolist(), strict=True))


def _is_finite(components: Mapping[str, Tensor]) -> bool:
    return math.isfinite(float(components[TOTAL]))


def _in_words(components: Mapping[str, float], names: Sequence[str], clips: Tensor) -> str:
    which = ", ".join(f"{name} is {value}" for name, value in components.items() if not math.isfinite(value))
    said = f"The held-out loss is not finite, while the weights are: {which}. "
    if not names:
        return f"{said}No clip is the cause by itself.\nLower training.learning_rate."
    peak = float(clips.abs().max())
    return (
        f"{said}The cause is {shortened(list(dict.fromkeys(names)))}, with samples of up to {peak:.3g}; such "
        "clips are left out of the held-out loss from here on.\n"
        "Take the recording out of the corpus, or scale it to a peak of 1."
    )
