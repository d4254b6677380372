"""The interface of plugins, at its public import path: see `distill.plugin.hookspecs`."""

from distill.plugin.hookspecs import (
    PROJECT,
    BalancerConfig,
    BalancerSpec,
    BaseTermConfig,
    TermConfig,
    TermSpec,
    TrainedTermConfig,
    distill_balancers,
    distill_loss_terms,
    hookimpl,
    hookspec,
)

__all__ = [
    "PROJECT",
    "BalancerConfig",
    "BalancerSpec",
    "BaseTermConfig",
    "TermConfig",
    "TermSpec",
    "TrainedTermConfig",
    "distill_balancers",
    "distill_loss_terms",
    "hookimpl",
    "hookspec",
]
