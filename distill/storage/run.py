"""The run folder: the paths of a training run's files, its recipe and its metrics. Imports no torch."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.arguments import no_folder, path_like, require_reachable
from distill.config import load_toml, no_tables
from distill.errors import ConfigError, RunError
from distill.storage.files import append_whole, is_partial, naming
from distill.storage.locking import LOCK_FILES
from distill.storage.memory import in_words
from distill.storage.metrics import line_of, read_metrics, rewind_metrics

_LARGEST_TEXT = 2**29
"""The largest size of a file besides those of tensors, in bytes: a million records of metrics have half."""


@frozen
class Run:
    """The paths of a run folder."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe with all options, `recipe.toml`."""
        return self.folder / "recipe.toml"

    @property
    def metrics(self) -> Path:
        """The metrics, one JSON object per line, `metrics.jsonl`."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, from which the run is resumed."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model, `model.safetensors`."""
        return self.folder / "model.safetensors"

    @property
    def start(self) -> Path:
        """The initial model, `start.safetensors`, if the run did not start from random weights."""
        return self.folder / "start.safetensors"

    @property
    def latents(self) -> Path:
        """The latents of the training recordings, from which new sounds are generated."""
        return self.folder / "latents.safetensors"

    @property
    def axes(self) -> Path:
        """The axes of generated sounds and what they change, `axes.safetensors`, written at first use."""
        return self.folder / "axes.safetensors"

    @property
    def presets(self) -> Path:
        """The presets that `distill play` saves, `presets.json`."""
        return self.folder / "presets.json"

    @property
    def baselines(self) -> Path:
        """The statistics of the training recordings for baselines, `baselines.safetensors`."""
        return self.folder / "baselines.safetensors"

    @property
    def batch(self) -> Path:
        """The batch of a step that was not finite, or at which a term failed, `batch.safetensors`."""
        return self.folder / "batch.safetensors"

    @property
    def split(self) -> Path:
        """The list of training and held-out recordings, `split.json`."""
        return self.folder / "split.json"

    @property
    def skipped(self) -> Path:
        """The list of the files of the corpus that are not used, with reasons, `skipped.txt`."""
        return self.folder / "skipped.txt"

    @property
    def audio(self) -> Path:
        """The folder of held-out originals and their reconstructions."""
        return self.folder / "audio"

    @property
    def page(self) -> Path:
        """The page of the run, `report.html`."""
        return self.folder / "report.html"

    @property
    def outcome(self) -> Path:
        """How the run ended, `outcome.json`."""
        return self.folder / "outcome.json"

    @property
    def measures(self) -> Path:
        """The measures of recordings that `distill compare` keeps, `measures.json`."""
        return self.folder / "measures.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.folder / "tensorboard"

    def require(self) -> None:
        """Check that the folder is a run, and that no file in it makes a reader wait or fills the memory.

        Raises:
            RunError: the folder is not a run, or a file in it is a pipe, a device, or far too large.
            InputError: the folder cannot be looked up.
        """
        require_reachable(self.recipe)
        if not self.folder.is_dir():
            raise RunError(
                no_folder(self.folder, "run folder"),
                culprit=str(self.folder),
                remedy="Pass the folder that `distill train --out` wrote.",
            )
        if not self.recipe.is_file():
            raise RunError(
                "is not a run folder: it holds no recipe.toml",
                culprit=str(self.folder),
                remedy="Pass the folder that `distill train --out` wrote.",
            )
        for folder in (self.folder, self.checkpoints, self.tensorboard):
            with suppress(OSError):  # no folder, or none that can be listed
                for path in folder.iterdir():
                    _require_ordinary(path)

    def require_new(self) -> None:
        """Check that a new run can be written to the folder, in which only what a killed process left may be.

        Raises:
            RunError: the folder holds a run or other files, or is a file.
            InputError: the folder cannot be looked up.
        """
        require_reachable(self.recipe)
        if self.recipe.exists():
            raise RunError(
                "holds a run already",
                culprit=str(self.folder),
                remedy="Add --resume to go on with it, or choose another folder with --out.",
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError("is a file", culprit=str(self.folder), remedy="Pass a folder with --out.")
        if self.folder.is_dir() and any(
            path.name not in LOCK_FILES and not is_partial(path) for path in self.folder.iterdir()
        ):
            raise RunError(
                "is not empty, and holds no run",
                culprit=str(self.folder),
                remedy="Choose a new folder with --out.",
            )

    def require_no_links_out(self) -> None:
        """Check that nothing is written, deleted or cut short outside the folder through a link in it.

        A run folder may come from a stranger.

        Raises:
            RunError: a link in the folder leads out of it.
        """
        root = self.folder.resolve()
        links = [
            path
            for path in _below(self.folder)
            if path.is_symlink() and root not in Path(os.path.realpath(path)).parents
        ]
        if links:
            more = f" (and {len(links) - 1} more)" if len(links) > 1 else ""
            raise RunError(
                f"is a link that leads out of the run folder, to {os.path.realpath(links[0])}{more}",
                culprit=str(links[0]),
                remedy="Replace it by what it leads to, if you trust it, or remove it.",
            )

    def sweep(self) -> None:
        """Remove files that killed processes left unfinished."""
        for path in _below(self.folder):
            if is_partial(path):
                with suppress(OSError):
                    path.unlink()

    def discard_unbegun(self) -> None:
        """Remove the files of a new run that ended before it had anything to be resumed from.

        Nothing is removed if there are records, checkpoints or files that a run does not begin with.
        """
        files = [path for path in _below(self.folder) if not path.is_dir() or path.is_symlink()]
        begun = {
            self.recipe,
            self.split,
            self.skipped,
            self.start,
            *(self.folder / name for name in LOCK_FILES),
        }
        events = [path for path in files if path.parent == self.tensorboard and ".tfevents." in path.name]
        empty = [path for path in files if path == self.metrics and not path.stat().st_size]
        if not {*files} <= {*begun, *events, *empty}:
            return
        with suppress(OSError):
            for path in {*files} - {self.folder / name for name in LOCK_FILES}:
                path.unlink()
            for folder in (self.tensorboard, self.checkpoints, self.audio):
                if folder.is_dir():
                    folder.rmdir()

    def read_recipe(self) -> dict[str, Any]:
        """Read `recipe.toml` as plain data.

        Raises:
            RunError: the folder is not a run.
            ConfigError: the file is damaged, or has something else where a table is expected.
        """
        self.require()
        tree = load_toml(self.recipe)
        _require_tables(tree, self.recipe)
        model = tree.get("model")
        if isinstance(model, dict):  # older versions coded every frame by itself, or had no hidden layers
            model.setdefault("joint_frames", 1)
            model.setdefault("joint_width", 0)
        return tree

    @contextmanager
    def naming_recipe(self) -> Iterator[None]:
        """Raise the errors of options of `recipe.toml`, such as those of another version, with its path."""
        try:
            yield
        except ConfigError as error:
            remedy = (
                error.remedy or "Restore the file from a copy, or use the version of Distill that wrote it."
            )
            raise ConfigError(*error.problems, culprit=str(self.recipe), remedy=remedy) from error

    def append_metrics(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records to `metrics.jsonl`. A record is written whole or not at all.

        A number that is not finite is written as null, since JSON has none.

        Raises:
            RunError: the file cannot be written.
        """
        lines = "".join(map(line_of, records))
        with naming(self.metrics):
            self.folder.mkdir(parents=True, exist_ok=True)  # it may have been removed during the training
            append_whole(self.metrics, lines.encode())

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the records of `metrics.jsonl`, without a truncated last one.

        Raises:
            RunError: another one is damaged, or the file cannot be read.
        """
        metrics = read_metrics(self.metrics)
        for number in metrics.damaged:
            raise RunError(
                f"line {number} is not a record of a training run",
                culprit=str(self.metrics),
                remedy="Restore the file from a copy, or remove the line.",
            )
        yield from metrics.records

    def rewind_metrics(
        self, reported: Mapping[str, int], step: int, records: Iterable[Mapping[str, Any]] = ()
    ) -> Path | None:
        """Drop the records that a run resumed at `step` writes again; see `metrics.rewind_metrics`.

        Raises:
            RunError: the file cannot be read or written.
        """
        with naming(self.metrics):
            return rewind_metrics(self.metrics, reported, step, records)


def run_of(run: object, *, culprit: str = "run", expected: str = "a run or its folder") -> Run:
    """Return a run that is given as such, or by the path of its folder.

    Raises:
        InputError: it is neither, or the path is a URL or cannot be looked up.
    """
    folder = run.folder if isinstance(run, Run) else run  # which may be text, of a `Run` that the user made
    return Run(path_like(folder, culprit=culprit, expected=expected, recorded=False))


def _require_ordinary(path: Path) -> None:
    """Check that a file of a run can be read at once and as a whole. Tensors are measured by their readers.

    Raises:
        RunError: it cannot.
    """
    try:
        status = path.stat()
    except OSError:  # a link to nothing, which is missing
        return
    problem = ""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        problem = "is not an ordinary file"
    elif path.suffix != ".safetensors" and stat.S_ISREG(status.st_mode) and status.st_size > _LARGEST_TEXT:
        problem = f"has {in_words(status.st_size)}, and {in_words(_LARGEST_TEXT)} at most are expected"
    if problem:
        raise RunError(problem, culprit=str(path), remedy="Remove it, or restore the run from a copy.")


def _require_tables(tree: Mapping[str, Any], recipe: Path) -> None:
    """Check that the sections of a recipe are tables, and so are those of each term and balancer.

    Raises:
        ConfigError: some are not. All of them are named.
    """
    problems = no_tables(tree)
    for section in ("loss", "balancing"):
        if isinstance(tree.get(section), Mapping):
            problems += no_tables(tree[section], at=section)
    if problems:
        remedy = "Correct the file, or restore it from a copy."
        raise ConfigError(*problems, culprit=str(recipe), remedy=remedy)


def free_run(parent: Path, name: str) -> Run:
    """Create the run folder `parent/name`, or the first free one of `name-2`, `name-3`, ...

    Two processes never choose the same folder, since only one of them can create it.

    Raises:
        OSError: the folder cannot be created.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        run = Run(parent / (name if number == 1 else f"{name}-{number}"))
        with suppress(FileExistsError):
            run.folder.mkdir()
            return run
        number += 1


def _below(folder: Path) -> Iterator[Path]:
    """Yield everything in a folder and its subfolders. Links to folders are not followed."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
