"""Lists of training runs. Loads no torch."""

import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.arguments import no_folder, require_reachable
from distill.config.words import are, counted
from distill.errors import DistillError, RunError
from distill.loss.components import TOTAL
from distill.loss.still import StillTerms, total_without
from distill.storage.checkpoint_files import step_reached
from distill.storage.ending import State, ending_of, state_in_words
from distill.storage.metrics import WITH_GRADIENTS, recent_metrics
from distill.storage.run import Run

_DEEPEST = 4
_MOST_STEPS, _MOST_MINUTES = 10**9, 10**7
"""What is shown in full. More is no training's, but of a damaged record, and would widen the table."""


@frozen(kw_only=True)
class Listed:
    """A run in a list.

    Attributes:
        name: the path of its folder below the folder that is listed.
        folder: the run folder.
        state: its state.
        terms: the names of its loss terms.
        steps: the number of steps trained.
        seconds: the training time.
        metrics: the components of the loss in the last measurement of held-out recordings, or in the last
            training record if there is none. None where a number was not finite.
        split: `heldout` or `train`, which `metrics` are of, empty if there are none.
        kept: the share of the training that the saved model has, None if unknown. `metrics` are of all of it.
        still: the terms that change nothing in the model, as the last records have their gradients.
        moving: the total of `metrics` without them, None if there are none, or it is not known.
        changed: the time of the last record or, without any, of the recipe.
        problem: why the recipe, the records or the outcome cannot be read, empty if they can.
        damaged: the names of these files.
    """

    name: str
    folder: Path
    state: State
    terms: tuple[str, ...]
    steps: int
    seconds: float
    metrics: Mapping[str, float | None]
    split: str
    changed: float
    kept: float | None = None
    still: tuple[str, ...] = ()
    moving: float | None = None
    problem: str = ""
    damaged: tuple[str, ...] = ()

    @property
    def loss(self) -> float | None:
        """The total of `metrics`."""
        return self.metrics.get(TOTAL)

    @property
    def shown_loss(self) -> float | None:
        """The loss in the list: without terms that change nothing, which would hide what changes.

        None if nothing of the training is kept: the loss is that of a model that there is not.
        """
        if self.kept == 0:
            return None
        return self.loss if self.moving is None else self.moving

    @property
    def is_without_still_terms(self) -> bool:
        """Whether the loss in the list is without terms that change nothing."""
        return self.shown_loss is not None and self.moving is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as printed by `distill runs --json`."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "state": self.state,
            "kept": self.kept,
            "terms": list(self.terms),
            "steps": self.steps,
            "seconds": self.seconds,
            "loss": self.loss,
            "still_terms": list(self.still),
            "loss_without_still_terms": self.moving,
            "metrics": dict(self.metrics),
            "split": self.split,
            "changed": datetime.fromtimestamp(self.changed).astimezone().isoformat(timespec="seconds"),
            "problem": self.problem,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the run's line: name, state, steps, time, loss, last change, terms."""
        loss = "-" if self.shown_loss is None else f"{self.shown_loss:.4g}"
        loss += "*" if self.is_without_still_terms else ""
        minutes = self.seconds / 60
        known = minutes < _MOST_MINUTES
        return (
            _printable(self.name),
            state_in_words(self.state, self.kept),
            str(self.steps) if self.steps < _MOST_STEPS else "?",
            "?" if not known else f"{self.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min",
            f"{loss} (trained)" if self.split == "train" and self.shown_loss is not None else loss,
            datetime.fromtimestamp(self.changed).astimezone().strftime("%Y-%m-%d %H:%M"),
            self._terms_and_problem,
        )

    @property
    def _terms_and_problem(self) -> str:
        """The names of the terms, and a few words about the files of the run that cannot be read."""
        terms = _printable(",".join(self.terms))
        unreadable = f"{_printable(', '.join(self.damaged))} cannot be read" if self.damaged else ""
        return f"{terms} ({unreadable})" if terms and unreadable else terms or unreadable


def list_runs(
    folder: Path, *, on_unreadable: Callable[[Path, OSError], None] = lambda *_: None
) -> list[Listed]:
    """Return the runs in a folder and in its subfolders, four levels down; or the run that the folder is.

    Args:
        folder: the folder.
        on_unreadable: called with each folder that cannot be read, and so may hold runs that are not listed,
            and with the reason.

    Raises:
        RunError: the folder does not exist.
        InputError: it cannot be looked up.
    """
    require_reachable(folder)
    if not folder.is_dir():
        raise RunError(no_folder(folder), culprit=str(folder), remedy="Pass the folder that holds the runs.")
    return [_listed(found, folder) for found in _found(folder, _DEEPEST, on_unreadable)]


def sorted_runs(runs: Iterable[Listed], order: str) -> list[Listed]:
    """Return runs in an order: `newest`, `name`, `state`, `steps`, `time` or `loss`.

    Steps and time begin with the largest, the loss with the lowest; runs without one are last.
    """
    keys: dict[str, Callable[[Listed], Any]] = {
        "newest": lambda run: -run.changed,
        "name": lambda run: run.name,
        "state": lambda run: run.state,
        "steps": lambda run: -run.steps,
        "time": lambda run: -run.seconds,
        "loss": lambda run: (run.shown_loss is None, run.shown_loss),
    }
    by_name = sorted(runs, key=keys["name"])
    return sorted(by_name, key=keys[order])


def _found(folder: Path, depth: int, on_unreadable: Callable[[Path, OSError], None]) -> Iterator[Path]:
    try:
        # Python 3.14's `is_file` takes a file that may not be looked at for none.
        if _is_file(folder / "recipe.toml"):
            yield folder
            return
        with os.scandir(folder) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:  # removed meanwhile
        return
    except OSError as error:
        on_unreadable(folder, error)
        return
    if depth:
        for each in below:
            yield from _found(each, depth - 1, on_unreadable)


def _is_file(path: Path) -> bool:
    """Return whether there is a file at a path.

    Raises:
        OSError: it may not be looked at.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _listed(folder: Path, root: Path) -> Listed:
    run = Run(folder)
    problems = list[DistillError]()
    terms = _terms(run, problems)
    records = _recent(run, problems)
    last = {str(record.get("split")): record for record in records}
    still = StillTerms()
    for record in records:
        still.add(record.get("gradients"))
    split = next((name for name in ("heldout", "train") if name in last), "")
    newest = max(last.values(), key=lambda record: record["step"], default={})
    ending = ending_of(run)
    if ending.damaged:
        problems.append(RunError("is damaged", culprit=str(run.outcome)))
    components, weights = (_numbers(last.get(split, {}).get(key)) for key in ("components", "weights"))
    return Listed(
        name=folder.name if folder == root else folder.relative_to(root).as_posix(),
        folder=folder,
        state=ending.state,
        kept=ending.kept,
        terms=terms,
        steps=step_reached(run.checkpoints, newest.get("step", 0)),
        seconds=_number(newest.get("seconds")) or 0.0,
        metrics=components,
        split=split,
        still=still.names,
        moving=total_without(components, weights, still.names),
        changed=_changed(run),
        problem="\n".join(map(str, problems)),
        damaged=tuple(dict.fromkeys(Path(each.culprit).name for each in problems)),
    )


def _recent(run: Run, problems: list[DistillError]) -> tuple[dict[str, Any], ...]:
    """Return the last records of a run. A problem is added if not all of them can be read."""
    try:
        metrics = recent_metrics(run.metrics, tail=WITH_GRADIENTS)
    except OSError as error:
        problems.append(RunError(f"cannot be read: {error.strerror}", culprit=str(run.metrics)))
        return ()
    if lines := len(metrics.damaged):
        told = f"{counted(lines, 'line')} {are(lines)} no record of a training run"
        problems.append(RunError(told, culprit=str(run.metrics)))
    return metrics.records


def _terms(run: Run, problems: list[DistillError]) -> tuple[str, ...]:
    """Return the names of the terms of a run. A problem is added if they are unknown."""
    try:
        terms = run.read_recipe().get("loss", {})
    except DistillError as error:
        problems.append(error)
        return ()
    if not terms:
        problems.append(RunError("names no loss term", culprit=str(run.recipe)))
    return tuple(terms)


def _changed(run: Run) -> float:
    for path in (run.metrics, run.recipe):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _numbers(components: object) -> dict[str, float | None]:
    if not isinstance(components, Mapping):
        return {}
    return {str(name): _number(value) for name, value in components.items()}


def _number(value: object) -> float | None:
    """Return a finite number, or None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    with suppress(OverflowError):  # a whole number of hundreds of digits
        return float(value) if math.isfinite(value) else None
    return None


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
