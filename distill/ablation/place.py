"""The folder of an ablation: its plan, its runs, and what was reported. Loads no torch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.ablation.plan import Plan, Trial
from distill.config import flatten
from distill.config.words import show_briefly
from distill.errors import RunError
from distill.storage.ending import Ending, State, ending_of
from distill.storage.files import append_whole, naming, read_bounded, remedy_of, write_whole
from distill.storage.locking import locked
from distill.storage.run import Run

_FORMAT = 1

LARGEST = 2**28
"""The largest plan that is read, in bytes: 10,000 runs of recipes of 20 kB."""

_SHOWN = 8
_REMEDY = "Give the same command as before to go on, or another folder with --out."

_SETTLED = ("provenance.",)
"""The sections of a recipe that a training run writes itself."""


@frozen
class Place:
    """The paths of an ablation's folder."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The runs with their recipes, `plan.json`."""
        return self.folder / "plan.json"

    @property
    def json(self) -> Path:
        """The result, `ablation.json`."""
        return self.folder / "ablation.json"

    @property
    def csv(self) -> Path:
        """The result as a table, `ablation.csv`."""
        return self.folder / "ablation.csv"

    @property
    def page(self) -> Path:
        """The page that compares the runs of the first seed, `comparison.html`."""
        return self.folder / "comparison.html"

    @property
    def best(self) -> Path:
        """The recipe that a search found, `best.toml`."""
        return self.folder / "best.toml"

    @property
    def search(self) -> Path:
        """What is searched, `search.json`."""
        return self.folder / "search.json"

    @property
    def study(self) -> Path:
        """The trials of a search, as Optuna writes them, `study.log`."""
        return self.folder / "study.log"

    @property
    def jobs(self) -> Path:
        """The folder of a cluster's jobs and of their output."""
        return self.folder / "jobs"

    def run(self, name: str) -> Run:
        """Return the folder of a run."""
        return Run(self.folder / name)

    def log(self, name: str) -> Path:
        """Return the file with what a failed run has printed."""
        return self.folder / "logs" / f"{name}.txt"

    def state(self, name: str) -> State | None:
        """Return the state of a run, or None if it has not begun."""
        return ending_of(self.run(name)).state if self.run(name).recipe.exists() else None

    def write_plan(self, corpus: str | None, trials: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the recipes of all runs by name.

        Raises:
            RunError: the file cannot be written.
        """
        content = {"format": _FORMAT, "corpus": corpus, "runs": dict(trials)}
        with naming(self.plan):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.plan, json.dumps(content, indent=1).encode())

    def read_plan(self) -> "Written":
        """Read what `write_plan` has written.

        Raises:
            RunError: the folder has no plan, or a damaged one.
        """
        try:
            content = json.loads(read_bounded(self.plan, LARGEST))
            if content["format"] != _FORMAT:
                raise ValueError(content["format"])  # noqa: TRY301  # reported below
            corpus, runs = content["corpus"], dict(content["runs"])
            tables = all(isinstance(each, dict) for each in runs.values())
            if not isinstance(corpus, str | None) or not tables:
                raise TypeError(corpus)  # noqa: TRY301  # as above
            return Written(corpus=corpus, runs=runs)
        except FileNotFoundError:
            raise RunError("is not the folder of an ablation", culprit=str(self.folder)) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            remedy = "Restore it from a copy, or give another folder with --out."
            raise RunError("is damaged", culprit=str(self.plan), remedy=remedy) from error


@frozen(kw_only=True)
class Written:
    """The corpus and the recipes of the runs by name, as they stand in a folder."""

    corpus: str | None
    runs: Mapping[str, Mapping[str, Any]]


@contextmanager
def ablation_lock(place: Place) -> Iterator[None]:
    """Create the folder if necessary, and lock it for the duration of a context.

    Raises:
        LockError: another process runs this ablation.
        RunError: the folder cannot be written, or what is written there is a link, which may lead anywhere.
    """
    for path in (place.log("processes").parent, place.log("processes"), place.jobs, place.study):
        if path.is_symlink():
            raise RunError("is a link", culprit=str(path), remedy="Remove it.")
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        lock = locked(
            place.folder,
            doing="is running this ablation",
            remedy="Wait until it has ended, or give another folder with --out.",
        )
        with lock:
            yield
    except OSError as error:
        problem = f"the folder cannot be written: {error.strerror or error}"
        raise RunError(problem, culprit=str(place.folder), remedy=remedy_of(error)) from error


def require_fitting(place: Place, plan: Plan) -> None:
    """Check that a folder is new or holds a part of this plan, to which runs may be added.

    Raises:
        RunError: the folder holds something else, or a run has another recipe than the plan.
    """
    trials = {trial.name: trial for trial in plan.trials}
    if place.plan.exists():
        written = place.read_plan().runs
        _require_same(place, trials, written)
    elif place.folder.exists():
        require_ours(place, trials)
    for trial in plan.trials:
        _require_recipe(place, trial)


def _require_same(
    place: Place, trials: Mapping[str, Trial], written: Mapping[str, Mapping[str, Any]]
) -> None:
    lines = [f"{name}: is no longer in the plan" for name in written if name not in trials]
    changes = {
        name: changed(written[name], trial.recipe) for name, trial in trials.items() if name in written
    }
    everywhere = [
        line for line in next(iter(changes.values()), []) if all(line in c for c in changes.values())
    ]
    lines += everywhere
    lines += [
        f"{name}: {line}" for name, found in changes.items() for line in found if line not in everywhere
    ]
    if lines:
        shown = [*islice(lines, _SHOWN)]
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise RunError(
            "\n".join(["holds an ablation with another plan:", *shown, *more]),
            culprit=str(place.folder),
            remedy=f"{_REMEDY} Seeds and values can be added.",
        )


def require_ours(place: Place, trials: Mapping[str, Trial]) -> None:
    """Check that a folder holds nothing but runs of a plan.

    Raises:
        RunError: it holds something else, or is a file.
    """
    if not place.folder.is_dir():
        raise RunError("is a file", culprit=str(place.folder), remedy="Give a folder with --out.")
    others = [
        path.name
        for path in place.folder.iterdir()
        if path.name not in trials and not path.name.startswith(".")  # a lock, decoded recordings
    ]
    if others:
        raise RunError(
            "is not empty, and holds no ablation",
            culprit=str(place.folder),
            remedy="Give a new folder with --out.",
        )


def _require_recipe(place: Place, trial: Trial) -> None:
    """Check that a run that is there has the recipe of the plan. What the plan leaves open may be settled."""
    run = place.run(trial.name)
    if not run.recipe.exists():
        return
    found = changed(run.read_recipe(), trial.recipe, settled=True)
    if found:
        raise RunError(
            "\n".join(["is a run with another recipe:", *found[:_SHOWN]]),
            culprit=str(run.folder),
            remedy=_REMEDY,
        )


def changed(before: Mapping[str, Any], now: Mapping[str, Any], *, settled: bool = False) -> list[str]:
    """Return a line for each option that differs between two recipes as plain data.

    `settled`: options that `now` leaves open may have any value before.
    """
    one, two = flatten(before), flatten(now)
    lines = []
    for path in sorted({*one, *two}):
        if path.startswith(_SETTLED) or one.get(path) == two.get(path):
            continue
        if settled and path not in two:
            continue
        told = [show_briefly(each[path]) if path in each else "unset" for each in (one, two)]
        lines.append(f"{path}: {told[0]}, now {told[1]}")
    return lines


def note_failure(place: Place, name: str, message: str, trace: str = "") -> None:
    """Write why a run failed: to its folder, if it has begun, and to its log."""
    run = place.run(name)
    with suppress(OSError, RunError):
        if run.recipe.exists() and ending_of(run).state != "failed":
            Ending(state="failed", message=message).write(run)
    with suppress(OSError):
        place.log(name).parent.mkdir(parents=True, exist_ok=True)
        append_whole(place.log(name), f"{trace or message}\n".encode(errors="backslashreplace"))


def pending(names: Iterable[str], place: Place) -> list[str]:
    """Return the names of runs that are not trained whole, or not measured."""
    return [
        name for name in names if place.state(name) != "finished" or not place.run(name).measures.exists()
    ]
