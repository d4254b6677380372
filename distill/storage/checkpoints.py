"""Checkpoints: the state that a training run needs to continue, in files that are written atomically.

A state (nested dicts, lists, tuples, numbers, strings and tensors) is stored as one safetensors file: tensors
are named by their paths in the state, and the structure is JSON in the file's metadata. Since there is one
file per checkpoint, an interruption cannot combine new tensors with an old structure.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.errors import RunError
from distill.storage.files import PARTIAL, naming, write_whole

_STRUCTURE = "distill_state"
_CHECKPOINT = re.compile(r"step-(\d+)\.safetensors")
_TRAIN_AGAIN = "Restore it from a copy, or train again."


@frozen(kw_only=True)
class Checkpoint:
    """A loaded state, with the errors of newer checkpoints that could not be read.

    `damaged` holds one error for each of these, to be shown as a warning.
    """

    step: int
    state: dict[str, Any]
    damaged: tuple[RunError, ...]


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], *, keep: int = 3) -> Path:
    """Save a state as `folder/step-00001200.safetensors`, then remove all but the newest `keep`.

    Checkpoints of later steps are removed, too: they were damaged, and a resumed run has skipped them.

    Raises:
        RunError: the file cannot be written. No older checkpoint is removed then.
        ValueError: `keep` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1: {keep}")
    path = folder / f"step-{step:08d}.safetensors"
    save_state(path, state)
    paths = checkpoint_paths(folder)
    kept = [paths[number] for number in paths if number <= step][-keep:]
    for old in {*paths.values(), *folder.glob(f".*{PARTIAL}")} - {*kept}:
        old.unlink()
    return path


def checkpoint_paths(folder: Path) -> dict[int, Path]:
    """Return the checkpoints of a folder by step, oldest first. A missing folder has none."""
    named = ((_CHECKPOINT.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return dict(sorted((int(match[1]), path) for match, path in named if match))


def load_latest(folder: Path) -> Checkpoint | None:
    """Load the newest undamaged checkpoint, or return None if the folder holds no checkpoint.

    Raises:
        RunError: there are checkpoints, but none of them can be read.
    """
    damaged: list[RunError] = []
    for step, path in reversed(checkpoint_paths(folder).items()):
        try:
            return Checkpoint(step=step, state=load_state(path), damaged=tuple(damaged))
        except RunError as error:
            damaged.append(error)
    if damaged:
        problem = f"none of the {len(damaged)} checkpoints can be read"
        raise RunError(problem, culprit=str(folder), remedy=_TRAIN_AGAIN) from damaged[0]
    return None


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state to a safetensors file, atomically.

    For a flat dict of tensors, such as a model's `state_dict()`, other tools can read the file. Tensors may
    share memory and have any strides; each is stored separately.

    Raises:
        RunError: the file cannot be written.
        TypeError: the state holds something other than dicts, lists, tuples, str, int, float, bool,
            None and tensors.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_encode(state, "", tensors), allow_nan=False)
    write_atomically(path, save(tensors, {_STRUCTURE: structure}))


def load_state(path: Path) -> dict[str, Any]:
    """Load a state that `save_state` wrote. Structure, values and dtypes are equal; tensors are on the CPU.

    Raises:
        RunError: the file is missing or truncated, or was not written by Distill.
    """
    if not path.is_file():
        remedy = "Check that the folder is the run of a `distill train`."
        raise RunError("there is no such file", culprit=str(path), remedy=remedy)
    try:
        with safe_open(path, framework="pt") as file:
            structure = json.loads((file.metadata() or {})[_STRUCTURE])
            # Copies, so that the file does not stay memory-mapped.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        problem = "the file is cut short, damaged, or not a safetensors file"
        raise RunError(problem, culprit=str(path), remedy=_TRAIN_AGAIN) from error
    except (KeyError, ValueError) as error:
        remedy = "Give a file that Distill has saved."
        raise RunError("the file was not written by Distill", culprit=str(path), remedy=remedy) from error
    state: dict[str, Any] = _decode(structure, tensors)
    return state


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically with `write_whole`. Missing folders are created.

    Raises:
        RunError: the file cannot be written, for example because the disk is full.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401  # any state, any JSON
    """Convert a state to JSON data for `_decode`, and add its tensors to `tensors`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        while name in tensors or name == "__metadata__":  # reserved by safetensors
            name += "'"
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {
            "dict": [
                [_encode(key, name, tensors), _encode(item, _join(name, key), tensors)]
                for key, item in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        encoded = [_encode(item, _join(name, index), tensors) for index, item in enumerate(value)]
        return encoded if isinstance(value, list) else {"tuple": encoded}
    raise TypeError(f"a state cannot hold a {type(value).__name__}: {name}")


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401  # the mirror of _encode
    match value:
        case {"float": text}:
            return float(text)
        case {"tensor": name}:
            return tensors[name]
        case {"dict": items}:
            return {_decode(key, tensors): _decode(item, tensors) for key, item in items}
        case {"tuple": items}:
            return tuple(_decode(item, tensors) for item in items)
        case list():
            return [_decode(item, tensors) for item in value]
    return value
