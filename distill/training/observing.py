"""The values that a training run reports, and the protocol of observers that receive them."""

from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from attrs import frozen

from distill.audio.corpus import Corpus, Remark, Skipped, Split, Stream
from distill.errors import InputError
from distill.loss.faults import weight_at
from distill.model import VAE
from distill.recipe import Draft, Recipe
from distill.storage.run import Run
from distill.training.record import About, Record
from distill.training.retention import Retention


@frozen(kw_only=True)
class SummaryTerm:
    """A loss term of a run: its weights at the start and end, and the distribution that provides it."""

    name: str
    origin: str
    first_weight: float
    last_weight: float


@frozen(kw_only=True)
class Extent:
    """The size of a split: its length in seconds, and its number of recordings or, for a stream, shards."""

    seconds: float
    recordings: int = 0
    shards: int = 0

    @classmethod
    def of(cls, split: Split | Stream) -> Self:
        """Return the extent of a split."""
        if isinstance(split, Stream):
            return cls(seconds=split.seconds, shards=len(split.shards))
        return cls(seconds=split.seconds, recordings=len(split.recordings))


@frozen(kw_only=True)
class Summary:
    """The summary of a training run before its first step.

    `corpus` is the location of the recordings, `skipped` what it holds besides, `remarks` on recordings that
    are used, `latents_per_second` the size of the model's code, `parameters` the number of its weights, and
    `start` a description of the initial weights.
    """

    run: Run
    recipe: Recipe
    terms: tuple[SummaryTerm, ...]
    corpus: str
    train: Extent
    heldout: Extent
    skipped: tuple[Skipped, ...]
    remarks: tuple[Remark, ...]
    parameters: int
    latents_per_second: float
    start: str
    device: str
    precision: str

    @classmethod
    def of(
        cls, draft: Draft, run: Run, corpus: Corpus, vae: VAE, *, start: str, device: str, precision: str
    ) -> Self:
        """Return the summary of a run."""
        recipe = draft.recipe
        frames_per_second = recipe.representation.sample_rate / recipe.representation.hop
        configs = [(term, getattr(recipe.loss, term.name)) for term in draft.terms]
        return cls(
            run=run,
            recipe=recipe,
            terms=tuple(
                SummaryTerm(
                    name=term.name,
                    origin=term.origin,
                    first_weight=weight_at(term, config, 0.0),
                    last_weight=weight_at(term, config, 1.0),
                )
                for term, config in configs
            ),
            corpus=str(corpus.folder),
            train=Extent.of(corpus.train),
            heldout=Extent.of(corpus.heldout),
            skipped=corpus.skipped,
            remarks=corpus.remarks,
            parameters=sum(parameter.numel() for parameter in vae.parameters()),
            latents_per_second=vae.latent_size * frames_per_second / vae.stride,
            start=start,
            device=device,
            precision=precision,
        )


@frozen(kw_only=True)
class TrainingWarning:
    """A warning of a run that continues. `str()` returns the message.

    `about` is one of these:

    - `"recipe"`: options of older versions, or without effect
    - `"checkpoint"`: a damaged checkpoint, or one of another version or device
    - `"corpus"`: recordings that have changed since a run was trained
    - `"lock"`: the lock that a killed process left behind
    - `"metrics"`: damaged lines of `metrics.jsonl`
    - `"pairs"`: originals and reconstructions that cannot be written
    - `"tensorboard"`: events that cannot be written
    - `"overfitting"`: a held-out loss that keeps rising
    - `"nonfinite"`: a step that was skipped, or a held-out loss that is not finite
    - `"collapse"`, `"gradient"`, `"divergence"`, `"recordings"`: signs of ill health, each told once;
      `docs/reliability.md` has the rule of each
    - `"page"`: a page of the run that cannot be made
    - `"progress"`: nothing has moved for a minute. This warning alone comes from a thread of its own
    """

    about: About
    message: str

    def __str__(self) -> str:
        return self.message


@frozen(kw_only=True)
class Outcome:
    """The result of a run: its last step, whether it was interrupted, and what it wrote.

    `resumed_at` is the step at which a resumed run continued, None for a new run. `retention` says how much
    of the training is kept; it is None if the run started from random weights or was interrupted. `pairs`
    are the files of originals and reconstructions to listen to. `corpus` and `heldout` are as in `Summary`.
    """

    run: Run
    step: int
    resumed_at: int | None
    interrupted: bool
    corpus: str
    sharded: bool
    heldout: Extent
    retention: Retention | None = None
    pairs: tuple[tuple[Path, Path], ...] = ()

    @property
    def was_finished(self) -> bool:
        """Whether the run was resumed and had no step left to train."""
        return self.step == self.resumed_at


@runtime_checkable
class Observer(Protocol):
    """The protocol of objects that receive the reports of a training run.

    A subclass defines only the methods it needs. They are called in the thread of the training run and, in
    distributed training, only in the main process. An exception raised by a method ends the run. If it
    comes from `record` or an overfitting `warning`, a checkpoint is saved first.
    """

    def summary(self, summary: Summary) -> None:  # noqa: ARG002  # for subclasses
        """Receive the summary of the run, once, before the first step."""
        return  # a body: what has none is abstract

    def record(self, record: Record) -> None:  # noqa: ARG002  # for subclasses
        """Receive the components of the loss: the means over several steps, or a held-out measurement."""
        return  # a body: what has none is abstract

    def warning(self, warning: TrainingWarning) -> None:  # noqa: ARG002  # for subclasses
        """Receive a warning, at any time."""
        return  # a body: what has none is abstract

    def done(self, outcome: Outcome) -> None:  # noqa: ARG002  # for subclasses
        """Receive the result of the run, once, after everything is written. Not called after an error."""
        return  # a body: what has none is abstract


class Silent(Observer):
    """An observer that ignores all reports."""


def require_observer(observer: object) -> Observer:
    """Return the observer, or a silent one for None.

    Raises:
        InputError: the observer lacks a method.
    """
    if observer is None:
        return Silent()
    if isinstance(observer, type):
        raise InputError(
            f"expected an observer, got the class {observer.__name__}",
            culprit="observer",
            remedy=f"Make an object of it: observer={observer.__name__}()",
        )
    if not isinstance(observer, Observer):
        raise InputError(
            f"an observer has the methods summary, record, warning and done: got {observer!r}",
            culprit="observer",
            remedy="Make it a subclass of distill.Observer, which has all four.",
        )
    return observer
