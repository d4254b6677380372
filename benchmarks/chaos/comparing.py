"""Comparison of a run with one that was never stopped: weights bit by bit, and every record."""

import json
import struct
from pathlib import Path
from typing import Any

import soundfile
import torch
from tensorboardX.proto.event_pb2 import Event

from distill.storage.checkpoints import checkpoint_paths, load_state
from distill.storage.run import Run

_TIMES = "seconds", "audio_rate"


class Results:
    """The results of a run folder."""

    def __init__(self, run: Run) -> None:
        newest = [*checkpoint_paths(run.checkpoints).values()][-1]
        checkpoint = load_state(newest)
        self.parts: dict[str, Any] = {
            "model": _flat(load_state(run.model)),
            "latents": _flat(load_state(run.latents)),
            "baselines": _flat(load_state(run.baselines)),
            "checkpoint": _flat(
                {name: checkpoint[name] for name in ("model", "optimizer", "clips", "noise")}
            ),
            "metrics": [_without_times(json.loads(line)) for line in run.metrics.read_text().splitlines()],
            "events": _scalars(run.tensorboard),
            "audio": {path.name: soundfile.read(path)[0].tobytes() for path in run.audio.iterdir()},
            "files": sorted(
                path.name
                for path in run.folder.iterdir()
                if path.name not in ("tensorboard", "checkpoints", "stdout", "stderr")
            ),
        }
        self.partial = [path for path in run.folder.rglob("*") if path.name.endswith(".partial")]

    def differences(self, other: "Results") -> list[str]:
        """Return the names of the parts that differ from those of another run, and of unfinished files."""
        found = [name for name, part in self.parts.items() if part != other.parts[name]]
        return found + [f"{path.name} is left" for path in self.partial]


def _flat(state: Any, name: str = "") -> dict[str, Any]:  # noqa: ANN401  # any state
    """Return the values of a state by their paths, and tensors as bytes."""
    if isinstance(state, torch.Tensor):
        return {name: state.contiguous().flatten().view(torch.uint8).numpy().tobytes()}
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {name: state}
    return {key: value for part, each in items for key, value in _flat(each, f"{name}.{part}").items()}


def _without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in _TIMES}


def _scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Return step, tag and value of every scalar in the event files, also if it is there twice."""
    found = []
    for path in folder.iterdir():
        data = path.read_bytes()
        while len(data) >= 16:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            found += [
                (event.step, value.tag, value.simple_value)
                for value in event.summary.value
                if not value.tag.startswith("speed/")
            ]
    return sorted(found)
