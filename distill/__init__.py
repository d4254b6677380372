"""Composable losses for audio VAEs: terms are plugins, and a composer sums them.

Names are imported on first use, so that `import distill` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.ablation.ablate import ablate as ablate
    from distill.ablation.ablate import plan_ablation as plan_ablation
    from distill.ablation.search import search_weights as search_weights
    from distill.comparison.compare import Comparison as Comparison
    from distill.comparison.compare import compare as compare
    from distill.errors import DistillError as DistillError
    from distill.inference import Model as Model
    from distill.inference import load as load
    from distill.loss.composer import CombinedLoss as CombinedLoss
    from distill.loss.composing import compose as compose
    from distill.loss.frozen import FrozenNetwork as FrozenNetwork
    from distill.playing.play import play as play
    from distill.plugin.hookspecs import BalancerConfig as BalancerConfig
    from distill.plugin.hookspecs import BalancerSpec as BalancerSpec
    from distill.plugin.hookspecs import BaseTermConfig as BaseTermConfig
    from distill.plugin.hookspecs import TermConfig as TermConfig
    from distill.plugin.hookspecs import TermSpec as TermSpec
    from distill.plugin.hookspecs import TrainedTermConfig as TrainedTermConfig
    from distill.plugin.hookspecs import hookimpl as hookimpl
    from distill.plugin.registry import Registry as Registry
    from distill.recipe import Recipe as Recipe
    from distill.reporting.report import report as report
    from distill.spectral.representation import MagnitudeIF as MagnitudeIF
    from distill.storage.run import Run as Run
    from distill.training.interruption import Interrupted as Interrupted
    from distill.training.observing import Observer as Observer
    from distill.training.observing import Outcome as Outcome
    from distill.training.observing import Summary as Summary
    from distill.training.observing import TrainingWarning as TrainingWarning
    from distill.training.record import Record as Record
    from distill.training.repeating import RepeatedBatch as RepeatedBatch
    from distill.training.repeating import repeat_batch as repeat_batch
    from distill.training.train import train as train
    from distill.views import LossInputs as LossInputs
    from distill.views import Posterior as Posterior
    from distill.views import Signal as Signal

_HOME = {
    "BalancerConfig": "plugin.hookspecs",
    "BalancerSpec": "plugin.hookspecs",
    "BaseTermConfig": "plugin.hookspecs",
    "CombinedLoss": "loss.composer",
    "Comparison": "comparison.compare",
    "DistillError": "errors",
    "FrozenNetwork": "loss.frozen",
    "Interrupted": "training.interruption",
    "LossInputs": "views",
    "MagnitudeIF": "spectral.representation",
    "Model": "inference",
    "Observer": "training.observing",
    "Outcome": "training.observing",
    "Posterior": "views",
    "Recipe": "recipe",
    "Record": "training.record",
    "Registry": "plugin.registry",
    "RepeatedBatch": "training.repeating",
    "Run": "storage.run",
    "Signal": "views",
    "Summary": "training.observing",
    "TermConfig": "plugin.hookspecs",
    "TermSpec": "plugin.hookspecs",
    "TrainedTermConfig": "plugin.hookspecs",
    "TrainingWarning": "training.observing",
    "ablate": "ablation.ablate",
    "compare": "comparison.compare",
    "compose": "loss.composing",
    "hookimpl": "plugin.hookspecs",
    "load": "inference",
    "plan_ablation": "ablation.ablate",
    "play": "playing.play",
    "repeat_batch": "training.repeating",
    "report": "reporting.report",
    "search_weights": "ablation.search",
    "train": "training.train",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # derived, so that the two cannot differ
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # of any type
    if name not in _HOME:
        msg = f"module 'distill' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"distill.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
