"""Checkpoints: the state that a training run needs to continue, in files that are written atomically.

A state (nested dicts, lists, tuples, numbers, strings and tensors) is stored as one safetensors file: tensors
are named by their paths in the state, and the structure is JSON in the file's metadata, which also has a
checksum of the whole file. Since there is one file per checkpoint, an interruption cannot combine new tensors
with an old structure, or a file with the checksum of another one.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.arguments import is_text, no_file
from distill.errors import RunError
from distill.storage.checkpoint_files import checkpoint_paths
from distill.storage.checksums import CHECKSUM, is_whole, sealed
from distill.storage.files import PARTIAL, write_atomically
from distill.storage.memory import in_words, machine_memory

_STRUCTURE = "distill_state"
_OPTIONS = "distill_options"
_BEST = "best.safetensors"
_MOST_STRUCTURE = 2**25
"""The longest structure of a state, in characters. Each may become an object of 60 bytes."""

_TRAIN_AGAIN = "Restore it from a copy, or train again."

Which: TypeAlias = int | Literal["last", "best"]
"""A checkpoint: the newest undamaged one, the best by held-out loss, or that of a step."""


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

    The state is saved with the `step`. Checkpoints of later steps are removed, too: they were damaged, and a
    resumed run has skipped them.

    Raises:
        RunError: the file cannot be written. No older checkpoint is removed then.
        ValueError: `keep` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1: {keep}")
    path = folder / f"step-{step:08d}.safetensors"
    save_state(path, {"step": step, **state})
    paths = checkpoint_paths(folder)
    kept = [paths[number] for number in paths if number <= step][-keep:]
    for old in {*paths.values(), *folder.glob(f".*{PARTIAL}")} - {*kept}:
        with suppress(OSError):  # one file too many harms nobody
            old.unlink()
    return path


def save_best(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Save a state as `folder/best.safetensors`, in the place of an earlier best one.

    Raises:
        RunError: the file cannot be written.
    """
    path = folder / _BEST
    save_state(path, {"step": step, **state})
    return path


def load_latest(folder: Path) -> Checkpoint | None:
    """Load the newest undamaged checkpoint, or return None if the folder holds no checkpoint.

    The best one is loaded if there is no other.

    Raises:
        RunError: there are checkpoints, but none of them can be read; or the folder cannot be listed.
    """
    damaged: list[RunError] = []
    for step, path in reversed(checkpoint_paths(folder).items()):
        try:
            state = _load_checkpoint(path, step)
            return Checkpoint(step=step, state=state, damaged=tuple(damaged))
        except RunError as error:
            damaged.append(error)
    best = folder / _BEST  # all that a run has, if it was killed before the first of the others
    if best.is_file():
        try:
            state = _load_checkpoint(best, None)
            return Checkpoint(step=state["step"], state=state, damaged=tuple(damaged))
        except RunError as error:
            damaged.append(error)
    if damaged:
        problem = f"none of the {len(damaged)} checkpoints can be read"
        raise RunError(problem, culprit=str(folder), remedy=_TRAIN_AGAIN) from damaged[0]
    return None


def load_checkpoint(folder: Path, which: Which) -> Checkpoint:
    """Load a checkpoint of a run.

    Raises:
        RunError: there is no such checkpoint, or it is damaged.
    """
    if which == "last":
        checkpoint = load_latest(folder)
        if checkpoint is None:
            raise RunError("there are no checkpoints", culprit=str(folder), remedy="Train the run on.")
        return checkpoint
    paths = checkpoint_paths(folder)
    if which == "best":
        path = folder / _BEST
        if not path.is_file():
            raise RunError(
                "there is no best checkpoint: the run has not measured held-out recordings yet",
                culprit=str(folder),
                remedy=_offer(paths),
            )
        state = _load_checkpoint(path, None)
        return Checkpoint(step=state["step"], state=state, damaged=())
    if which not in paths:
        raise RunError(f"there is no checkpoint of step {which}", culprit=str(folder), remedy=_offer(paths))
    return Checkpoint(step=which, state=_load_checkpoint(paths[which], which), damaged=())


def _offer(paths: Mapping[int, Path]) -> str:
    steps = ", ".join(map(str, paths))
    return f"Pass the step of another one, {steps}, or 'last'." if paths else "Train the run on."


def _load_checkpoint(path: Path, step: int | None) -> dict[str, Any]:
    """Load a state that `save_checkpoint` saved, of a given step unless it is None."""
    state = load_state(path)
    saved = state.get("step")
    if type(saved) is not int or (step is not None and saved != step):
        of = f"of step {saved}" if type(saved) is int else "of something else"
        raise RunError(f"is not a checkpoint but {of}", culprit=str(path), remedy=_TRAIN_AGAIN)
    return state


def save_state(path: Path, state: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> None:
    """Write a state to a safetensors file, atomically.

    For a flat dict of tensors, such as a model's `state_dict()`, other tools can read the file. Tensors may
    share memory and have any strides; each is stored separately. `options` are for `options_in`.

    Raises:
        RunError: the file cannot be written.
        TypeError: the state holds something other than dicts, lists, tuples, str, int, float, bool,
            None and tensors.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_encode(state, "", tensors), allow_nan=False)
    more = None if options is None else {_OPTIONS: json.dumps(options, allow_nan=False)}
    write_atomically(path, *sealed(save(tensors, {_STRUCTURE: structure}), more))


def options_in(path: Path) -> dict[str, Any]:
    """Return the options that a file was saved with, which `load_state` can read; none in older files.

    Raises:
        RunError: they are not a table.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_OPTIONS, "{}")
    with suppress(ValueError, RecursionError):
        options = json.loads(text)
        if isinstance(options, dict):
            return options
    raise RunError("the options in the file are damaged", culprit=str(path), remedy=_TRAIN_AGAIN)


def load_state(path: Path, *, most: int | None = None) -> dict[str, Any]:
    """Load a state that `save_state` wrote. Structure, values and dtypes are equal; tensors are on the CPU.

    Nothing of the file is executed, and no more is held than twice its size. Its size is checked first.

    Args:
        path: the file.
        most: the largest size of the file in bytes. Default: half of the memory of this machine.

    Raises:
        RunError: the file is missing, unreadable, truncated, larger than `most`, or not written by Distill.
    """
    if not path.is_file():
        remedy = "Check that the folder is the run of a `distill train`."
        raise RunError(no_file(path), culprit=str(path), remedy=remedy)
    try:
        path.open("rb").close()
    except OSError as error:
        remedy = "Make sure that you may read it."
        raise RunError(f"cannot be read: {error.strerror}", culprit=str(path), remedy=remedy) from error
    most = machine_memory() // 2 if most is None else most
    if path.stat().st_size > most:
        problem = f"the file has {in_words(path.stat().st_size)}, and {in_words(most)} at most are expected"
        raise RunError(problem, culprit=str(path), remedy=_TRAIN_AGAIN)
    damaged = RunError(
        "the file is cut short, damaged, or not a safetensors file", culprit=str(path), remedy=_TRAIN_AGAIN
    )
    remedy = "Pass a file that Distill has saved."
    foreign = RunError("the file was not written by Distill", culprit=str(path), remedy=remedy)
    try:
        with _opened(path) as file:
            metadata = file.metadata() or {}
            # A changed byte in the name of the checksum makes it an unknown one.
            unknown = _STRUCTURE in metadata and metadata.keys() - {CHECKSUM, _STRUCTURE, _OPTIONS}
            if unknown or is_whole(path) is False:
                raise damaged
            structure = _structure_of(metadata)
            # Copies, so that the file does not stay memory-mapped.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a dict
        state = _decode(structure, tensors)
    except (OSError, SafetensorError) as error:
        raise damaged from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise foreign from error
    if not isinstance(state, dict):
        raise foreign
    return state


@contextmanager
def _opened(path: Path) -> Iterator[Any]:  # safetensors carries no types
    """Open a safetensors file, also one whose path is not valid text, which safetensors refuses.

    Raises:
        SafetensorError: the file is not one.
    """
    with ExitStack() as stack:
        if not is_text(path):
            link = Path(stack.enter_context(TemporaryDirectory(prefix="distill-")), "link")
            link.symlink_to(path.absolute())
            path = link
        yield stack.enter_context(safe_open(path, framework="pt"))


def _structure_of(metadata: Mapping[str, str]) -> Any:  # noqa: ANN401  # any JSON
    text = metadata[_STRUCTURE]
    if len(text) > _MOST_STRUCTURE:
        msg = "the structure of the state is too long"
        raise ValueError(msg)
    return json.loads(text)


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
