"""Initial weights of a training run: those of the base model, of another run's model, or random ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from torch import Tensor

from distill.base import base_checksum, compact_checksum, load_base, load_codes, load_compact
from distill.config import structure, unstructure
from distill.config.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import ConfigError, RunError
from distill.model import VAE
from distill.model.axes import CodeStatistics
from distill.recipe import Recipe
from distill.storage.checkpoints import load_state
from distill.storage.run import Run

_AXES, _JOINT = "axes.", "joint."
"""Prefixes of the weights that only a small code has. The axes are initialized from the corpus, unless the
base model has some of that size."""

_SIZES = "width", "fine_width", "expansion", "encoder_blocks", "decoder_blocks"
"""The settings of a model that the shapes of its weights depend on, apart from those of a small code."""

_CODE = "model.code"


@frozen(kw_only=True)
class Start:
    """The source of a model's initial weights: `origin` for the recipe's provenance, `said` in words.

    `codes` has the statistics of the base model's full code, for a small code that is to be cut from it.
    `keeps_code` says that a small code with hidden layers is that of the source.
    """

    origin: str
    said: str
    codes: CodeStatistics | None = None
    keeps_code: bool = False

    @classmethod
    def recorded(cls, run: Run) -> "Start":
        """Return the source that a run to be resumed has recorded."""
        provenance = run.read_recipe().get("provenance", {})
        origin = str(provenance.get("training.start", "none"))
        return cls(origin=origin, said="where it stopped", keeps_code=_CODE in provenance)

    @property
    def provenance(self) -> dict[str, str]:
        """What the recipe records of the source."""
        code = {_CODE: "that of the start"} if self.keeps_code else {}
        return {"training.start": self.origin, **code}

    def settled(self, settings: TrainingSettings, vae: VAE) -> TrainingSettings:
        """Return the settings of a model that starts so, before its axes are initialized."""
        new_code = vae.axes is not None and not vae.axes.begun
        return settings.settled(begun=self.origin != "none", new_code=new_code)


def start(vae: VAE, recipe: Recipe) -> Start:
    """Load the initial weights that `training.start` selects into a model.

    The base model has a fixed representation and size. If the recipe has others, the model keeps its random
    weights, and `said` gives the reason.

    Raises:
        RunError: the folder to start from is not a run, or holds no model.
        ConfigError: the model or representation of that run differs from the recipe's.
    """
    wanted = recipe.training.start
    if wanted == "none":
        return Start(origin="none", said="random weights")
    if wanted != "base":
        return _start_with_run(vae, recipe, Run(Path(wanted)))
    base = load_base()
    reasons = [*_differing(recipe.representation, base.representation, "representation")]
    reasons += _misfits(vae, base.weights, _other_sizes(recipe.model, unstructure(base.model)))
    if reasons:
        return Start(origin="none", said=f"random weights: the base model has another {reasons[0]}")
    keeps_code = _load(vae, base.weights if vae.axes is None else base.weights | load_compact())
    checksum, compact = base_checksum(), vae.axes is not None and bool(vae.axes.begun)
    return Start(
        origin=f"base sha256:{checksum}" + (f" compact sha256:{compact_checksum()}" if compact else ""),
        said=f"the base model, {checksum[:12]}",
        codes=None if vae.axes is None or compact else load_codes(),
        keeps_code=keeps_code,
    )


def _start_with_run(vae: VAE, recipe: Recipe, run: Run) -> Start:
    tree = run.read_recipe()
    with run.naming_recipe():
        representation = structure(
            tree.get("representation", {}), RepresentationSettings, at="representation"
        )
    if not run.model.exists():
        raise RunError(
            "holds no trained model to begin with",
            culprit=str(run.folder),
            remedy="Train it on with --resume; a model is saved every few minutes and at the end.",
        )
    weights = load_state(run.model)
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise RunError("does not hold a model", culprit=str(run.model), remedy="Choose another run.")
    reasons = [*_differing(recipe.representation, representation, "representation")]
    reasons += _misfits(vae, weights, _other_sizes(recipe.model, tree.get("model", {})))
    if reasons:
        raise ConfigError(
            f"training.start: the model of {run.folder} has another {reasons[0]}; "
            "set the same here, or another start"
        )
    keeps_code = _load(vae, weights)
    return Start(
        origin=f"run {run.folder.resolve()}", said=f"the model of {run.folder}", keeps_code=keeps_code
    )


def _differing(wanted: RepresentationSettings, there: RepresentationSettings, section: str) -> list[str]:
    names = ("sample_rate", "n_fft", "hop", "floor")
    return [
        f"{section}.{name}, {getattr(there, name):g}"
        for name in names
        if getattr(wanted, name) != getattr(there, name)
    ]


def _other_sizes(wanted: ModelSettings, there: Mapping[str, Any]) -> list[str]:
    """Return the settings in which models of two sizes differ, apart from their codes, which may differ."""
    own = unstructure(wanted)
    return [f"model.{name}, {there[name]}" for name in _SIZES if name in there and there[name] != own[name]]


def _misfits(vae: VAE, weights: Mapping[str, Tensor], known: list[str]) -> list[str]:
    """Return what keeps weights from fitting: what is `known` to differ, or the names of the weights.

    Those of the axes and hidden layers of a small code do not matter.
    """
    small = _AXES, _JOINT
    own = {name: value.shape for name, value in vae.state_dict().items() if not name.startswith(small)}
    there = {name: value.shape for name, value in weights.items() if not name.startswith(small)}
    misfits = [name for name in sorted({*own, *there}) if own.get(name) != there.get(name)]
    return misfits and (known or [f"size of model ({name})" for name in misfits])


def _load(vae: VAE, weights: Mapping[str, Tensor]) -> bool:
    """Load weights, and return whether hidden layers of a small code are among those that fit.

    Those of a small code are only loaded whole: those of another size are found anew. Axes do without hidden
    layers, which then add nothing until they are trained, unless they were trained with some.
    """
    own = vae.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if any(name.startswith(_JOINT) and name not in fitting for name in {*own, *weights}):
        fitting = {name: value for name, value in fitting.items() if not name.startswith(_JOINT)}
    lost = any(name.startswith(_JOINT) and name not in fitting for name in weights)
    if lost or any(name.startswith(_AXES) and name not in fitting for name in own):
        fitting = {name: value for name, value in fitting.items() if not name.startswith((_AXES, _JOINT))}
    vae.load_state_dict(own | fitting)
    return any(name.startswith(_JOINT) for name in fitting)
