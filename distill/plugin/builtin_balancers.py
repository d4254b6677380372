"""The built-in balancer: its options, and the hook that registers it. Loads no torch."""

from collections.abc import Callable, Iterable

from attrs import field, frozen, validators

from distill.plugin.hookspecs import BalancerConfig, BalancerSpec, hookimpl

_POSITIVE: list[Callable[..., None]] = [validators.gt(0), validators.lt(float("inf"))]


@frozen(kw_only=True)
class GradientBalancerConfig(BalancerConfig):
    """The options of `gradient`: the decay of its averages, and the norm of the balanced gradient."""

    decay: float = field(
        default=0.999,
        validator=[validators.ge(0), validators.lt(1)],
        metadata={"help": "decay of the moving average of each term's gradient norm"},
    )
    total_norm: float | None = field(
        default=None,
        validator=validators.optional(_POSITIVE),
        metadata={"help": "sum of the gradient norms of all terms; unset: the sum with fixed weights"},
    )


@hookimpl
def distill_balancers() -> Iterable[BalancerSpec]:
    """Yield the balancer that comes with Distill."""
    yield BalancerSpec(
        name="gradient",
        config=GradientBalancerConfig,
        build="distill.loss.balancing:GradientBalancer",
        summary="weights are shares of the gradient at the decoder's output, as in EnCodec",
    )
