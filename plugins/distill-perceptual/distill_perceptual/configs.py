"""The options of the terms. Loads no torch."""

from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from distill import TermConfig


def _resolutions(
    _: object, attribute: "attrs.Attribute[Any]", resolutions: tuple[tuple[int, int, int], ...]
) -> None:
    if not resolutions or any(not (hop >= 1 and 1 <= window <= n_fft) for n_fft, hop, window in resolutions):
        raise ValueError(
            f"'{attribute.name}' must be [FFT size, hop, window] each, the hop at least 1 and the window "
            f"at most the FFT size: {resolutions!r}"
        )
    if len(resolutions) > 16 or any(n_fft > min(131_072, 256 * hop) for n_fft, hop, _ in resolutions):
        raise ValueError(
            f"'{attribute.name}' must be at most 16, with FFT sizes of at most 131072 and 256 hops: "
            f"{resolutions!r}"
        )


@frozen(kw_only=True)
class _StftConfig(TermConfig):
    resolutions: tuple[tuple[int, int, int], ...] = field(
        default=((512, 128, 512), (1024, 256, 1024), (2048, 512, 2048)),
        validator=_resolutions,
        metadata={"help": "[FFT size, hop, window] of each resolution, in samples"},
    )
    per_example: bool = field(
        default=False,
        metadata={"help": "norms of the spectral convergence per sound, not over the batch as in auraloss"},
    )


@frozen(kw_only=True)
class WeightedStftConfig(_StftConfig):
    """The options of `weighted_stft`: the frequency weighting and the resolutions."""

    weighting: Literal["A", "K"] = field(
        default="A",
        metadata={"help": "A: IEC 61672, for quiet sounds; K: BS.1770, as in loudness meters"},
    )


@frozen(kw_only=True)
class SumDifferenceConfig(_StftConfig):
    """The options of `sum_difference`: the frequency weighting and the resolutions."""

    weighting: Literal["none", "A", "K"] = field(
        default="none", metadata={"help": "frequency weighting of both sounds, as in weighted_stft"}
    )


@frozen(kw_only=True)
class LoudnessConfig(TermConfig):
    """The options of `loudness`: the blocks whose loudness is compared.

    Its values in LU are large: with a weight of 1 it would outweigh the spectral terms.
    """

    weight: float = field(
        default=0.05,
        validator=[validators.ge(0), validators.lt(float("inf"))],
        metadata={"help": "factor in the total, per LU; 0 only monitors the term"},
    )
    block_ms: float = field(
        default=400.0,
        validator=[validators.ge(1), validators.le(60_000)],
        metadata={"help": "length of a block, in milliseconds; 400: momentary loudness"},
    )
    hop_ms: float = field(
        default=100.0,
        validator=[validators.ge(1), validators.le(60_000)],
        metadata={"help": "hop between blocks, in milliseconds"},
    )
    floor: float = field(
        default=-70.0,
        validator=[validators.ge(-120), validators.le(0)],
        metadata={"help": "LKFS of a noise that is added to both sounds"},
    )
