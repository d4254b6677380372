"""The loss term `mel`: log-mel spectrograms at several scales. Loads no torch."""

from collections.abc import Iterable
from typing import Any

import attrs
from attrs import field, frozen, validators

from distill import TermConfig, TermSpec, hookimpl

_FINITE = validators.lt(float("inf"))


def _one_per_window(config: "MelConfig", attribute: "attrs.Attribute[Any]", windows: tuple[int, ...]) -> None:
    if len(windows) != len(config.n_mels):
        raise ValueError(
            f"'{attribute.name}' must be one for each of n_mels {list(config.n_mels)}: {windows!r}"
        )


def _above_f_min(config: "MelConfig", attribute: "attrs.Attribute[Any]", f_max: float | None) -> None:
    if f_max is not None and not config.f_min < f_max < float("inf"):
        raise ValueError(f"'{attribute.name}' must be above f_min {config.f_min} and finite: {f_max!r}")


@frozen(kw_only=True)
class MelConfig(TermConfig):
    """The options of `mel`: mel bands and window of each scale, by default those of DAC."""

    n_mels: tuple[int, ...] = field(
        default=(5, 10, 20, 40, 80, 160, 320),
        validator=[
            validators.min_len(1),
            validators.max_len(16),
            validators.deep_iterable([validators.ge(1), validators.le(4096)]),
        ],
        metadata={"help": "mel bands of each scale"},
    )
    windows: tuple[int, ...] = field(
        default=(32, 64, 128, 256, 512, 1024, 2048),
        validator=[validators.deep_iterable([validators.ge(4), validators.le(131_072)]), _one_per_window],
        metadata={"help": "Hann window of each scale, in samples; its hop is a quarter"},
    )
    f_min: float = field(
        default=0.0,
        validator=[validators.ge(0), _FINITE],
        metadata={"help": "Hz where the lowest band begins"},
    )
    f_max: float | None = field(
        default=None,
        validator=_above_f_min,
        metadata={"help": "Hz where the highest band ends; unset: half the sample rate"},
    )
    floor: float = field(
        default=1e-5,
        validator=[validators.gt(0), _FINITE],
        metadata={"help": "least mel amplitude: smaller ones are raised to it, and have no gradient"},
    )
    share: float = field(
        default=1.0,
        validator=[validators.gt(0), validators.le(1)],
        metadata={
            "help": "share of the clips of a mini-batch that is compared, rounded up; fewer take less time"
        },
    )


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the term."""
    yield TermSpec(
        name="mel",
        config=MelConfig,
        build="distill_mel.term:MelTerm",
        summary="log-mel spectrograms of the waveforms, at seven scales",
    )
