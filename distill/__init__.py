"""Composable losses for audio VAEs: terms are plugins, a composer adds them up.

Names are imported on first use, so that `import distill` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.composer import CombinedLoss as CombinedLoss
    from distill.composer import compose as compose
    from distill.errors import DistillError as DistillError
    from distill.hookspecs import BalancerConfig as BalancerConfig
    from distill.hookspecs import BalancerSpec as BalancerSpec
    from distill.hookspecs import BaseTermConfig as BaseTermConfig
    from distill.hookspecs import TermConfig as TermConfig
    from distill.hookspecs import TermSpec as TermSpec
    from distill.hookspecs import TrainedTermConfig as TrainedTermConfig
    from distill.hookspecs import hookimpl as hookimpl
    from distill.registry import Registry as Registry
    from distill.representation import MagnitudeIF as MagnitudeIF
    from distill.views import LossInputs as LossInputs
    from distill.views import Posterior as Posterior
    from distill.views import Signal as Signal

_HOME = {
    "BalancerConfig": "hookspecs",
    "BalancerSpec": "hookspecs",
    "BaseTermConfig": "hookspecs",
    "CombinedLoss": "composer",
    "DistillError": "errors",
    "LossInputs": "views",
    "MagnitudeIF": "representation",
    "Posterior": "views",
    "Registry": "registry",
    "Signal": "views",
    "TermConfig": "hookspecs",
    "TermSpec": "hookspecs",
    "TrainedTermConfig": "hookspecs",
    "compose": "composer",
    "hookimpl": "hookspecs",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # derived, so that the two lists cannot part
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the type is that of the name asked for
    if name not in _HOME:
        msg = f"module 'distill' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"distill.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
