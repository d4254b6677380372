"""Loss terms of the phase: IF, group delay, and consistency of the spectrogram. Loads no torch."""

from collections.abc import Iterable
from typing import Literal

from attrs import field, frozen

from distill import TermConfig, TermSpec, hookimpl

Distance = Literal["cosine", "anti_wrapping"]


@frozen(kw_only=True)
class PhaseConfig(TermConfig):
    """The options of `phase`."""

    distance: Distance = field(
        default="cosine",
        metadata={"help": "cosine: 1 - cos of the error; anti_wrapping: the wrapped error in radians"},
    )


@frozen(kw_only=True)
class GroupDelayConfig(TermConfig):
    """The options of `group_delay`."""

    distance: Distance = field(
        default="anti_wrapping",
        metadata={"help": "anti_wrapping: the wrapped error in radians; cosine: 1 - cos of the error"},
    )
    accumulate: bool = field(
        default=False,
        metadata={
            "help": "compare phases accumulated over frames; if false, each frame relative to the target's "
            "previous frame"
        },
    )


@frozen(kw_only=True)
class ConsistencyConfig(TermConfig):
    """The options of `consistency`."""


_CONSISTENT = "the kit's predictions are consistent, so that the loss is already 0"


_HELD = "the weights by amplitude are constants, so that the gradient does not grow as 1 / amplitude"


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the terms."""
    yield TermSpec(
        name="phase",
        config=PhaseConfig,
        build="distill_phase.terms:PhaseTerm",
        summary="circular distance of the IFs, weighted by amplitude",
        waivers={"float64": _HELD},
    )
    yield TermSpec(
        name="group_delay",
        config=GroupDelayConfig,
        build="distill_phase.terms:GroupDelayTerm",
        summary="circular distance of the group delays, weighted by amplitude",
        waivers={"float64": _HELD},
    )
    yield TermSpec(
        name="consistency",
        config=ConsistencyConfig,
        build="distill_phase.terms:ConsistencyTerm",
        summary="distance of the predicted spectrogram from that of its inverse",
        waivers={**dict.fromkeys(("gradient", "descent", "gain"), _CONSISTENT), "float64": _HELD},
    )
