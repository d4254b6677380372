"""Composable losses for audio VAEs: terms are plugins, a composer adds them up.

Names are imported on first use, so that `import distill` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.errors import DistillError as DistillError
    from distill.loss.composer import CombinedLoss as CombinedLoss
    from distill.loss.composer import compose as compose
    from distill.loss.frozen import FrozenNetwork as FrozenNetwork
    from distill.plugin.hookspecs import BalancerConfig as BalancerConfig
    from distill.plugin.hookspecs import BalancerSpec as BalancerSpec
    from distill.plugin.hookspecs import BaseTermConfig as BaseTermConfig
    from distill.plugin.hookspecs import TermConfig as TermConfig
    from distill.plugin.hookspecs import TermSpec as TermSpec
    from distill.plugin.hookspecs import TrainedTermConfig as TrainedTermConfig
    from distill.plugin.hookspecs import hookimpl as hookimpl
    from distill.plugin.registry import Registry as Registry
    from distill.spectral.representation import MagnitudeIF as MagnitudeIF
    from distill.views import LossInputs as LossInputs
    from distill.views import Posterior as Posterior
    from distill.views import Signal as Signal

_HOME = {
    "BalancerConfig": "plugin.hookspecs",
    "BalancerSpec": "plugin.hookspecs",
    "BaseTermConfig": "plugin.hookspecs",
    "CombinedLoss": "loss.composer",
    "DistillError": "errors",
    "FrozenNetwork": "loss.frozen",
    "LossInputs": "views",
    "MagnitudeIF": "spectral.representation",
    "Posterior": "views",
    "Registry": "plugin.registry",
    "Signal": "views",
    "TermConfig": "plugin.hookspecs",
    "TermSpec": "plugin.hookspecs",
    "TrainedTermConfig": "plugin.hookspecs",
    "compose": "loss.composer",
    "hookimpl": "plugin.hookspecs",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # derived, so that the two lists cannot part
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the type is that of the name asked for
    if name not in _HOME:
        msg = f"module 'distill' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"distill.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
