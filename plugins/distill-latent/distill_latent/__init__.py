"""Loss terms of the posterior: KL variants, MMD and active units. Loads no torch."""

from collections.abc import Callable, Iterable

from attrs import field, frozen, validators

from distill import TermConfig, TermSpec, hookimpl

_POSITIVE: list[Callable[..., None]] = [validators.gt(0), validators.lt(float("inf"))]
_NOT_NEGATIVE: list[Callable[..., None]] = [validators.ge(0), validators.lt(float("inf"))]


@frozen(kw_only=True)
class KlCapacityConfig(TermConfig):
    """The options of `kl_capacity`: the target of the KL divergence, and its schedule."""

    weight: float = field(
        default=0.01,
        validator=_NOT_NEGATIVE,
        metadata={"help": "factor in the total; 0 only monitors the term"},
    )
    capacity: float = field(
        default=25.0,
        validator=_NOT_NEGATIVE,
        metadata={"help": "target of the KL divergence of a latent vector in the end, in nats"},
    )
    rise: float = field(
        default=1.0,
        validator=[validators.ge(0), validators.le(1)],
        metadata={"help": "share of the training run over which the capacity rises from 0"},
    )


@frozen(kw_only=True)
class KlBatchFreeBitsConfig(TermConfig):
    """The options of `kl_batch_free_bits`."""

    weight: float = field(
        default=0.01,
        validator=_NOT_NEGATIVE,
        metadata={"help": "factor in the total; 0 only monitors the term"},
    )
    free_bits: float = field(
        default=0.1,
        validator=_NOT_NEGATIVE,
        metadata={"help": "nats below which a dimension's mean over the step gets no gradient"},
    )


@frozen(kw_only=True)
class MmdConfig(TermConfig):
    """The options of `mmd`."""

    bandwidth: float = field(
        default=1.0,
        validator=_POSITIVE,
        metadata={"help": "width of the kernel, in square roots of the latent size"},
    )


@frozen(kw_only=True)
class ActiveUnitsConfig(TermConfig):
    """The options of `active_units`, which can only be monitored."""

    weight: float = field(
        default=0.0,
        validator=validators.in_((0.0,)),
        metadata={"help": "0: a count has no gradient, and is only monitored"},
    )
    threshold: float = field(
        default=0.01,
        validator=_NOT_NEGATIVE,
        metadata={"help": "variance of a dimension's mean above which it counts as active"},
    )


_NO_SLOPE = "a count has no gradient: the term is only monitored"


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the terms."""
    yield TermSpec(
        name="kl_capacity",
        config=KlCapacityConfig,
        build="distill_latent.terms:KlCapacityTerm",
        summary="distance of the KL divergence from a capacity that rises over the training run",
        per_example=False,
    )
    yield TermSpec(
        name="kl_batch_free_bits",
        config=KlBatchFreeBitsConfig,
        build="distill_latent.terms:KlBatchFreeBitsTerm",
        summary="KL divergence with free bits for the mean over the step of each latent dimension",
        per_example=False,
    )
    yield TermSpec(
        name="mmd",
        config=MmdConfig,
        build="distill_latent.terms:MmdTerm",
        summary="maximum mean discrepancy of the mixture of all posteriors from a standard normal",
        per_example=False,
    )
    yield TermSpec(
        name="active_units",
        config=ActiveUnitsConfig,
        build="distill_latent.terms:ActiveUnitsTerm",
        summary="number of active latent dimensions, only monitored",
        per_example=False,
        waivers={"gradient": _NO_SLOPE},
    )
