"""Records of a training run on disk: `metrics.jsonl` for programs, event files for TensorBoard."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

from distill.loss.components import weight_name
from distill.storage.run import Run
from distill.training.events import EventFile, Scalars, read_scalars
from distill.training.record import About, Record

_TRAIN, _HELDOUT = "train", "heldout"


@frozen(kw_only=True)
class Reported:
    """The last step of each split that the checkpoint of a resumed run has reported.

    `records` are the last of these records, which a full disk or a power failure may have kept out of the
    file.
    """

    step: int
    train: int
    heldout: int
    records: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> Self:
        """Return what a checkpoint's state has reported; without a checkpoint, nothing."""
        if state is None:
            return cls(step=-1, train=-1, heldout=-1)
        step = state["step"]
        # The last window may end before the step, where a term has started, and be reported later.
        train = state["window"]["first"] if "window" in state else step
        heldout = step - 1 if state.get("evaluation_due", False) else step
        return cls(step=step, train=train, heldout=heldout, records=tuple(state.get("records", ())))

    def covers(self, step: int, tag: str) -> bool:
        """Return whether the scalar of a step, which TensorBoard knows by its tag, was reported."""
        return step <= (self.heldout if tag.startswith(f"{_HELDOUT}/") else self.train)


class Recorder:
    """Write the records of a training run to its run folder.

    `resumed` is what the checkpoint of a resumed run has reported, None for a new run. Later records are
    dropped, since the run repeats these steps. `warn` is called if lines of `metrics.jsonl` are damaged or
    if TensorBoard's events cannot be written.
    """

    def __init__(self, run: Run, *, resumed: Reported | None, warn: Callable[[About, str], None]) -> None:
        self.run = run
        earlier = None
        if resumed is not None:
            copy = run.rewind_metrics(
                {_TRAIN: resumed.train, _HELDOUT: resumed.heldout}, resumed.step, resumed.records
            )
            if copy is not None:
                warn("metrics", _damaged(run.metrics, copy))
            earlier = _earlier(run, resumed)
        self.events = EventFile(run.tensorboard, warn=partial(warn, "tensorboard"), earlier=earlier)

    def write(self, record: Record) -> None:
        """Append a record to `metrics.jsonl` and to the event file, at once.

        Raises:
            RunError: `metrics.jsonl` cannot be written.
        """
        fields = attrs.asdict(record)
        self.run.append_metrics([fields])
        self.events.add_scalars(record.step, _scalars(fields))


def _scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that TensorBoard shows of a record, by their tags."""
    scalars = {f"{record['split']}/{name}": value for name, value in record["components"].items()}
    if record["split"] == _TRAIN:
        scalars["speed/seconds_of_audio_per_second"] = record["audio_rate"]
        scalars |= {weight_name(name): value for name, value in record["weights"].items()}
        scalars["learning_rate"] = record.get("learning_rate")
        gradients = record.get("gradients") or {}
        shares = gradients.get("shares", {})
        scalars |= {f"gradient_share/{name}": value for name, value in shares.items()}
    return {name: value for name, value in scalars.items() if value is not None and math.isfinite(value)}


def _earlier(run: Run, resumed: Reported) -> Scalars:
    """Return the scalars up to a checkpoint: those of the event files, and those that only metrics have."""
    written = {key: each for key, each in read_scalars(run.tensorboard).items() if resumed.covers(*key)}
    now = time.time()
    for record in run.read_metrics():
        try:
            scalars = _scalars(record)
        except (AttributeError, KeyError, TypeError, ValueError):  # of another program
            continue
        for tag, value in scalars.items():
            written.setdefault((record["step"], tag), (now, value))
    return written


def _damaged(path: Path, copy: Path) -> str:
    return (
        f"{path}: some lines are not records of a training run. The file as it was is {copy}; "
        "the run goes on with the other lines."
    )
