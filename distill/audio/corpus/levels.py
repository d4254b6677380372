"""Levels that no recording has, and levels that are unusual. Full scale is 1."""

import math

from attrs import define, frozen

from distill.audio.corpus.blocks import Block, UnusableError

LOUDEST = 100.0
"""40 dB above full scale. A louder recording is damaged or is not scaled to 1."""

_BEYOND = 2.0
_INAUDIBLE = 1e-5
"""100 dB below full scale, a third of the last of 16 bits."""

SHORTEST_SECONDS = 0.01
"""A shorter recording is a click, of which no measure says how it sounds."""

_SILENT = "is silent throughout"

_SCALED = 0.1
"""The share of samples above 1 from which all are taken for scaled ones, not for errors."""


@define
class Level:
    """The range of the samples that were seen so far, and how many of them exceed full scale."""

    lowest: float = math.inf
    highest: float = -math.inf
    samples: int = 0
    beyond: int = 0

    @property
    def peak(self) -> float:
        """The largest magnitude."""
        return max(self.highest, -self.lowest)

    def see(self, block: Block) -> None:
        """Take a block into account.

        Raises:
            UnusableError: the block contains NaN or infinite samples.
        """
        lowest, highest = float(block.min()), float(block.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise UnusableError("contains NaN or infinite samples")
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self.samples += block.size
        if highest > 1 or lowest < -1:
            self.beyond += int((abs(block) > 1).sum())

    def require_possible(self) -> None:
        """Check that a recording may have such a level.

        Raises:
            UnusableError: the samples are scaled to integers, or some of them are too large to be sound.
        """
        if self.peak <= LOUDEST:
            return
        what = f"has samples of up to {self.peak:,.6g}, and 1 is full scale"
        bits = next((bits for bits in (8, 16, 24, 32) if self.peak <= 1.5 * 2 ** (bits - 1)), 0)
        if bits and self.beyond > _SCALED * self.samples:
            raise UnusableError(
                f"{what}: they seem to be in the range of {bits}-bit integers "
                f"(to divide them for training: corpus.full_scale={2 ** (bits - 1)}, or --full-scale of "
                "distill shard)"
            )
        raise UnusableError(f"{what}: {self.beyond:,} of its {self.samples:,} samples exceed it")

    def require_usable(self) -> None:
        """Check that a recording may have such a level, and is not silent.

        Raises:
            UnusableError: it is silent, or has an impossible level.
        """
        self.require_possible()
        if not self.peak:
            raise UnusableError(_SILENT)


@frozen
class Remark:
    """A remark on a recording that is used: its `path` in the corpus, with slashes, and the `text`."""

    path: str
    text: str


def remark_on(name: str, lowest: float, highest: float, seconds: float, note: str = "") -> Remark | None:
    """Return a remark on a recording that contributes little or exceeds full scale, or has a note, or None.

    Its samples are between `lowest` and `highest`.
    """
    peak = max(highest, -lowest)
    if peak <= 0:
        return Remark(name, _SILENT)
    decibels = 20 * math.log10(peak)
    if peak > _BEYOND:
        return Remark(name, f"peaks at {decibels:+.1f} dB, above full scale")
    if peak < _INAUDIBLE:
        return Remark(name, f"peaks at {decibels:+.1f} dB, too quiet to contribute anything")
    if lowest == highest:
        return Remark(name, f"has the same value throughout, {lowest:g}, and contributes no sound")
    if seconds < SHORTEST_SECONDS:
        return Remark(name, f"lasts {1000 * seconds:.2g} ms, too short to contribute much")
    return Remark(name, note) if note else None
