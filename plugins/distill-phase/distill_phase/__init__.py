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
        metadata={
            "help": "cosine: 1 - cos of the error; anti_wrapping: the error in radians, less whole turns"
        },
    )


@frozen(kw_only=True)
class GroupDelayConfig(TermConfig):
    """The options of `group_delay`."""

    distance: Distance = field(
        default="anti_wrapping",
        metadata={
            "help": "anti_wrapping: the error in radians, less whole turns; cosine: 1 - cos of the error"
        },
    )
    accumulate: bool = field(
        default=False,
        metadata={
            "help": "phases add up from frame to frame, as in the sound; if not, each frame goes on from the "
            "target's frame before, and an error counts where it is made"
        },
    )


@frozen(kw_only=True)
class ConsistencyConfig(TermConfig):
    """The options of `consistency`."""


_CONSISTENT = (
    "predictions of the kit are sounds, or spectrograms of sounds, in which there is nothing to lower"
)


_HELD = (
    "amplitudes weigh the phases and are constants to the gradient, which would else grow as 1 / amplitude"
)


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
        summary="circular distance of the phases' slopes over frequency, weighted by amplitude",
        waivers={"float64": _HELD},
    )
    yield TermSpec(
        name="consistency",
        config=ConsistencyConfig,
        build="distill_phase.terms:ConsistencyTerm",
        summary="the predicted spectrogram against that of the sound it is turned into",
        waivers={**dict.fromkeys(("gradient", "descent", "gain"), _CONSISTENT), "float64": _HELD},
    )
