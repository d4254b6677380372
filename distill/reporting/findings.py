"""Inputs and results of the rules of the verdict. Loads no torch."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field, frozen

from distill.reporting.history import History

Grade: TypeAlias = Literal["bad", "warning", "note", "good"]

FEWEST_MEASUREMENTS = 6
"""Held-out measurements, or stretches of training, below which a trend is not judged."""


@frozen(kw_only=True)
class Finding:
    """A statement of the verdict.

    `rule` is its name in `docs/report.md`, `because` the numbers that it follows from, `advice` what to do
    next, and `command` a command for that, empty if there is none.
    """

    rule: str
    grade: Grade
    title: str
    because: str
    advice: str = ""
    command: str = ""


@frozen(kw_only=True)
class Evidence:
    """The inputs of the rules: a part of `Facts`, without sounds and files.

    `train` and `heldout` are numbers of recordings, None for shards or if unknown; `levels` the change of
    level of each measured recording in dB, None if its reconstruction is silent; `clipped` those whose
    reconstruction exceeds full scale; `active` and `units` the numbers of active and of all latent units.
    """

    folder: str
    state: str
    history: History = field(factory=History)
    message: str = ""
    kept: float | None = None
    train: int | None = None
    heldout: int | None = None
    skipped: int = 0
    levels: Mapping[str, float | None] = field(factory=dict)
    clipped: tuple[str, ...] = ()
    active: int = 0
    units: int = 0
