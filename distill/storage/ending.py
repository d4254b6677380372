"""The end of a training run, `outcome.json` in its folder. Loads no torch."""

import json
import os
from typing import Any, Literal, TypeAlias

from attrs import frozen

from distill.config.words import percentage
from distill.storage.files import naming, write_whole
from distill.storage.locking import is_held
from distill.storage.metrics import last_records
from distill.storage.run import Run

_LONGEST = 2**20

State: TypeAlias = Literal["running", "finished", "interrupted", "failed"]


@frozen(kw_only=True)
class Ending:
    """The end of a run, or that it is running.

    `kept` is the share of the training that is kept, None if unknown; `message` the error of a failed run.
    `damaged` says that `outcome.json` cannot be read, so that the state is that of the other files.
    """

    state: State
    kept: float | None = None
    message: str = ""
    damaged: bool = False

    def write(self, run: Run) -> None:
        """Write how a run ended to its folder.

        Raises:
            RunError: the file cannot be written.
        """
        content = {"state": self.state, "kept": self.kept, "message": self.message}
        with naming(run.outcome):
            write_whole(run.outcome, json.dumps(content).encode() + b"\n")


def state_in_words(state: State, kept: float | None) -> str:
    """Return the state of a run and, if the model has not all of the training, how much: "25% kept"."""
    return state if kept is None or kept == 1 else f"{state}, {percentage(kept)} kept"


def ending_of(run: Run) -> Ending:
    """Return how a run ended, or that it is running.

    A run that says nothing of its end, and that no process is training, was killed. Runs of Distill 0.2.0 say
    nothing either: they are finished if their last record is that of the end and their latents are there.
    """
    told = _told(run)
    state, kept, message = (told.get(key) for key in ("state", "kept", "message"))
    if state in ("finished", "interrupted", "failed"):
        return Ending(
            state=state,
            kept=_share(kept),
            message=message if isinstance(message, str) else "",
        )
    damaged = os.path.lexists(run.outcome)
    if is_held(run.folder):
        return Ending(state="running", damaged=damaged)
    last = last_records(run.metrics).get("train", {})
    done = last.get("progress") == 1 and run.latents.exists()
    return Ending(state="finished" if done else "interrupted", damaged=damaged)


def _share(value: object) -> float | None:
    """Return a number within 0..1, or None."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value <= 1 else None  # type: ignore[operator, arg-type]  # a number


def _told(run: Run) -> dict[str, Any]:
    try:
        if not run.outcome.is_file():  # a pipe would be waited for
            return {}
        with run.outcome.open("rb") as file:
            told = json.loads(file.read(_LONGEST))
    except (OSError, ValueError, RecursionError):  # missing, or damaged
        return {}
    return told if isinstance(told, dict) else {}
