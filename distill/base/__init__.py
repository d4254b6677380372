"""The base model: a pretrained model from which training runs start.

`docs/base.md` describes its training data. `benchmarks/base.py` trains it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from distill.config import structure, unstructure
from distill.config.settings import ModelSettings, RepresentationSettings
from distill.errors import RunError
from distill.model.axes import CodeStatistics
from distill.storage.checkpoints import load_state, save_state

_FILE = Path(__file__).parent / "base.safetensors"
_CODES = Path(__file__).parent / "codes.safetensors"
_COMPACT = Path(__file__).parent / "compact.safetensors"
_REMEDY = "Install Distill again."


@frozen(kw_only=True)
class Base:
    """A pretrained model: its settings, and its weights by name, in float32."""

    representation: RepresentationSettings
    model: ModelSettings
    weights: dict[str, Tensor]


def load_base() -> Base:
    """Load the base model.

    Raises:
        RunError: Its file is missing from the installation, or damaged.
    """
    state = _load(_FILE, ("representation", "model", "weights"))
    return Base(
        representation=structure(state["representation"], RepresentationSettings, at="representation"),
        model=structure(state["model"], ModelSettings, at="model"),
        weights={name: value.float() for name, value in state["weights"].items()},
    )


def load_codes() -> CodeStatistics:
    """Load the statistics of the base model's full code over the sounds of its training.

    Raises:
        RunError: Its file is missing from the installation, or damaged.
    """
    state = _load(_CODES, ("mean", "covariance"))
    return CodeStatistics(mean=state["mean"].double(), covariance=state["covariance"].double())


def load_compact() -> dict[str, Tensor]:
    """Load the weights of the base model's compact code, by name, in float32.

    Raises:
        RunError: Their file is missing from the installation, damaged, or that of another base model.
    """
    state = _load(_COMPACT, ("base", "weights"))
    if state["base"] != base_checksum():
        raise _foreign(_COMPACT)
    weights = state["weights"]
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def _load(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Load a file of the package that has values of these names."""
    try:
        state = load_state(path)
    except RunError as error:
        raise RunError(error.problem, culprit=error.culprit, remedy=_REMEDY) from error
    if not {*names} <= {*state}:
        raise _foreign(path)
    return state


def _foreign(path: Path) -> RunError:
    return RunError("is not the file of this version of Distill", culprit=str(path), remedy=_REMEDY)


def base_checksum() -> str:
    """Return the SHA-256 checksum of the base model's file, in hexadecimal digits."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


def compact_checksum() -> str:
    """Return the SHA-256 checksum of the file of its compact code, in hexadecimal digits."""
    return hashlib.sha256(_COMPACT.read_bytes()).hexdigest()


def write_base(
    weights: Mapping[str, Tensor], representation: RepresentationSettings, model: ModelSettings
) -> None:
    """Write a model into the package, with its weights in float16."""
    state: dict[str, Any] = {
        "representation": unstructure(representation),
        "model": unstructure(model),
        "weights": {name: value.to(torch.float16) for name, value in weights.items()},
    }
    save_state(_FILE, state)


def write_codes(statistics: CodeStatistics) -> None:
    """Write the statistics of the base model's full code into the package, in float16."""
    save_state(_CODES, {"mean": statistics.mean.half(), "covariance": statistics.covariance.half()})


def write_compact(weights: Mapping[str, Tensor]) -> None:
    """Write the weights of the base model's compact code into the package, in float16."""
    reduced = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    save_state(_COMPACT, {"base": base_checksum(), "weights": reduced})
