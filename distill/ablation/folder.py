"""The folder of an ablation or of a search: its files, and the state of its runs. Loads no torch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.errors import RunError
from distill.storage.ending import Ending, State, ending_of
from distill.storage.files import append_whole, naming, place_of, read_bounded, remedy_of, write_whole
from distill.storage.locking import locked
from distill.storage.run import Run

_FORMAT = 1

LARGEST = 2**28
"""The largest plan that is read, in bytes: 10,000 runs of recipes of 20 kB."""


@frozen(kw_only=True)
class StoredPlan:
    """The corpus and the recipes of the runs by name, as `plan.json` has them."""

    corpus: str | None
    runs: Mapping[str, Mapping[str, Any]]


@frozen
class AblationFolder:
    """The folder of an ablation or of a search."""

    path: Path

    @property
    def plan(self) -> Path:
        """The runs with their recipes, `plan.json`."""
        return self.path / "plan.json"

    @property
    def json(self) -> Path:
        """The result, `ablation.json`."""
        return self.path / "ablation.json"

    @property
    def csv(self) -> Path:
        """The result as a table, `ablation.csv`."""
        return self.path / "ablation.csv"

    @property
    def page(self) -> Path:
        """The page that compares the runs of the first seed, `comparison.html`."""
        return self.path / "comparison.html"

    @property
    def best(self) -> Path:
        """The recipe that a search found, `best.toml`."""
        return self.path / "best.toml"

    @property
    def search(self) -> Path:
        """What is searched, `search.json`."""
        return self.path / "search.json"

    @property
    def study(self) -> Path:
        """The trials of a search, as Optuna writes them, `study.log`."""
        return self.path / "study.log"

    @property
    def jobs(self) -> Path:
        """The folder of a cluster's jobs and of their output."""
        return self.path / "jobs"

    def run(self, name: str) -> Run:
        """Return the folder of a run."""
        return Run(self.path / name)

    def log(self, name: str) -> Path:
        """Return the file with what a failed run has printed."""
        return self.path / "logs" / f"{name}.txt"

    def state(self, name: str) -> State | None:
        """Return the state of a run, or None if it has not begun."""
        return ending_of(self.run(name)).state if self.run(name).recipe.exists() else None

    def pending(self, names: Iterable[str]) -> list[str]:
        """Return the names of those runs that are not trained to their end, or not measured."""
        return [
            name for name in names if self.state(name) != "finished" or not self.run(name).measures.exists()
        ]

    def write_plan(self, corpus: str | None, recipes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the recipes of all runs by name.

        Raises:
            RunError: the file cannot be written.
        """
        content = {"format": _FORMAT, "corpus": corpus, "runs": dict(recipes)}
        with naming(self.plan):
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.plan, json.dumps(content, indent=1).encode())

    def read_plan(self) -> StoredPlan:
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
            return StoredPlan(corpus=corpus, runs=runs)
        except FileNotFoundError:
            raise RunError("is not the folder of an ablation", culprit=str(self.path)) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            remedy = "Restore it from a copy, or choose another folder with --out."
            raise RunError("is damaged", culprit=str(self.plan), remedy=remedy) from error

    def record_failure(self, name: str, message: str, trace: str = "") -> None:
        """Write why a run failed: to its folder, if it has begun, and to its log."""
        run = self.run(name)
        with suppress(OSError, RunError):
            if run.recipe.exists() and ending_of(run).state != "failed":
                Ending(state="failed", message=message).write(run)
        with suppress(OSError):
            self.log(name).parent.mkdir(parents=True, exist_ok=True)
            append_whole(self.log(name), f"{trace or message}\n".encode(errors="backslashreplace"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder if necessary, and lock it for the duration of a context.

        Raises:
            LockError: another process runs this ablation.
            RunError: the folder cannot be written, or what is written there is a link, which may lead
                anywhere.
        """
        for path in (self.log("processes").parent, self.log("processes"), self.jobs, self.study):
            if path.is_symlink():
                raise RunError("is a link", culprit=str(path), remedy="Remove it.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = locked(
                self.path,
                doing="is running this ablation",
                remedy="Wait until it has ended, or choose another folder with --out.",
            )
            with lock:
                self._sweep()
                yield
        except OSError as error:
            problem = f"the folder cannot be written: {error.strerror or error}"
            raise RunError(problem, culprit=place_of(error, self.path), remedy=remedy_of(error)) from error

    def _sweep(self) -> None:
        """Remove the locks of the study that a killed process left, for which Optuna would wait."""
        for path in self.path.glob(f"{self.study.name}.lock*"):
            path.unlink(missing_ok=True)
