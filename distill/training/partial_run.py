"""The progress of a training run, and the files that are written when a signal stops it."""

from contextlib import suppress
from pathlib import Path

from attrs import define, field

from distill.audio.corpus import Corpus, Stream
from distill.errors import DistillError, RunError
from distill.recipe import Recipe
from distill.storage.ending import Ending
from distill.storage.files import naming, write_atomically, write_text
from distill.storage.run import Run
from distill.training.finishing import finish_early
from distill.training.interruption import Signals
from distill.training.observing import Extent, Outcome
from distill.training.retention import Retention
from distill.training.trainer import Trainer


@define(kw_only=True)
class PartialRun:
    """The parts of a training run that exist so far: None for those that do not.

    `descriptions` are the recipe and the lists of recordings in the run folder, with their content.
    `trainer` is set when its model can be trained, `trained` after the last step, and `usable` when the
    results are complete but for statistics and sounds to listen to. `resumed_at` is the step at which a
    resumed run continues.
    """

    run: Run
    recipe: Recipe
    resumed_at: int | None = None
    corpus: Corpus | None = None
    descriptions: dict[Path, bytes] = field(factory=dict)
    trainer: Trainer | None = None
    trained: bool = False
    usable: bool = False

    @property
    def step(self) -> int:
        """The number of steps trained."""
        return max(self.trainer.step if self.trainer else 0, self.resumed_at or 0)

    def now_usable(self) -> None:
        """Note that the model and the latents of the finished run are saved."""
        self.usable = True

    def outcome(
        self,
        *,
        interrupted: bool = False,
        retention: Retention | None = None,
        pairs: tuple[tuple[Path, Path], ...] = (),
    ) -> Outcome:
        """Return the outcome of the run."""
        corpus = self.corpus
        return Outcome(
            run=self.run,
            step=self.step,
            resumed_at=self.resumed_at,
            interrupted=interrupted,
            corpus=str(corpus.folder) if corpus else str(self.recipe.corpus.path),
            sharded=corpus is not None and isinstance(corpus.train, Stream),
            heldout=Extent.of(corpus.heldout) if corpus else Extent(seconds=0.0),
            retention=retention,
            pairs=pairs,
        )

    def note_descriptions(self) -> None:
        """Note the recipe and the lists of recordings that were written to the run folder."""
        paths = (self.run.recipe, self.run.split, self.run.skipped)
        self.descriptions = {path: path.read_bytes() for path in paths if path.is_file()}

    def restore_descriptions(self) -> bool:
        """Write those again that were removed during the training; return whether there were any.

        Without its recipe, a model cannot be used.

        Raises:
            RunError: something cannot be written.
        """
        missing = {path: text for path, text in self.descriptions.items() if not path.exists()}
        for path, text in missing.items():
            write_atomically(path, text)
        return bool(missing)

    def begin(self, trainer: Trainer) -> None:
        """Note that the training begins. What the folder says of an earlier end is removed.

        Raises:
            RunError: the file cannot be removed.
        """
        self.trainer = trainer
        if not trainer.accelerator.is_main_process:
            return
        with naming(self.run.outcome):
            self.run.outcome.unlink(missing_ok=True)

    def end(self, ending: Ending) -> None:
        """Write how the training ended, if it has begun.

        Raises:
            RunError: the file cannot be written.
        """
        if self.trainer is not None:
            ending.write(self.run)

    def end_with(self, error: Exception) -> None:
        """Write that an error ended the training, as far as that is possible. It is raised in any case.

        With a `StopIteration`, an observer stops a run that is in order.
        """
        message = str(error) if isinstance(error, DistillError) else f"{type(error).__name__}: {error}"
        stopped = isinstance(error, StopIteration)
        with suppress(RunError):
            self.end(Ending(state="interrupted") if stopped else Ending(state="failed", message=message))

    def leave_usable(self, signals: Signals) -> None:
        """Write what makes a stopped run one that can be resumed and, after the first step, used.

        Raises:
            RunError: something cannot be written.
        """
        if not self.descriptions and not self.run.recipe.exists():
            write_text(self.run.recipe, self.recipe.to_toml())
        self.restore_descriptions()
        if self.usable or self.corpus is None or self.trainer is None or not self.run.model.exists():
            return
        finish_early(
            self.run,
            self.trainer.vae,
            self.trainer.representation,
            self.corpus,
            self.trainer.settings,
            signals.seconds_left,
            signals.within_time,
            self.trainer.made_with.get("recipe", {}),
        )
