"""What a training run reports: values, which a terminal, a notebook or a test can show."""

from pathlib import Path
from typing import Literal, Protocol, Self, TypeAlias, runtime_checkable

from attrs import frozen

from distill.audio.corpus import Corpus, Skipped, Split, Stream
from distill.errors import InputError
from distill.model import VAE
from distill.recipe import Draft, Recipe
from distill.storage.run import Run
from distill.training.retention import Retention
from distill.training.trainer import Record


@frozen(kw_only=True)
class SummaryTerm:
    """A loss term of a run: its weight at the start and at the end, and the distribution it comes from."""

    name: str
    origin: str
    first_weight: float
    last_weight: float


@frozen(kw_only=True)
class Extent:
    """How much there is of a split: its length in seconds, and its recordings or, of a stream, its shards."""

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
    """What is about to be trained, on what, with which loss.

    `corpus` is where the recordings are. `latents_per_second` is the size of the model's code,
    `parameters` the number of its weights. `start` says in words what the model begins with.
    """

    run: Run
    recipe: Recipe
    terms: tuple[SummaryTerm, ...]
    corpus: str
    train: Extent
    heldout: Extent
    skipped: tuple[Skipped, ...]
    parameters: int
    latents_per_second: float
    start: str
    device: str
    precision: str

    @classmethod
    def of(
        cls, draft: Draft, run: Run, corpus: Corpus, vae: VAE, *, start: str, device: str, precision: str
    ) -> Self:
        """Summarise a run that is about to begin."""
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
                    first_weight=config.weight_at(0.0),
                    last_weight=config.weight_at(1.0),
                )
                for term, config in configs
            ),
            corpus=str(corpus.folder),
            train=Extent.of(corpus.train),
            heldout=Extent.of(corpus.heldout),
            skipped=corpus.skipped,
            parameters=sum(parameter.numel() for parameter in vae.parameters()),
            latents_per_second=vae.latent_size * frames_per_second / vae.stride,
            start=start,
            device=device,
            precision=precision,
        )


About: TypeAlias = Literal["recipe", "checkpoint", "overfitting"]


@frozen(kw_only=True)
class TrainingWarning:
    """What must not be overlooked, though the run goes on; `str()` is the message.

    `about` is `"recipe"` for options of older versions, `"checkpoint"` for one that is damaged, and
    `"overfitting"` for a held-out loss that keeps rising.
    """

    about: About
    message: str

    def __str__(self) -> str:
        return self.message


@frozen(kw_only=True)
class Outcome:
    """How a run ended: at which step, whether it was interrupted, and what was made of it.

    `resumed_at` is the step that a resumed run went on from, None for a new one. `retention` says how
    much is kept of what was learnt, None where the run began with nothing or was interrupted. `pairs` are
    the originals and reconstructions to listen to. `corpus` and `heldout` are as in the `Summary`.
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
    """What may look on at a training run; a subclass need only define what it is interested in.

    The methods are called in the thread of the training, and in the main process alone where there are
    several. What one raises ends the run: a checkpoint is saved before `record` and `warning` let it pass.
    """

    def summary(self, summary: Summary) -> None:  # noqa: ARG002  # for subclasses
        """Take what is about to be trained, once, before the first step."""
        return  # a body: what has none is abstract

    def record(self, record: Record) -> None:  # noqa: ARG002  # for subclasses
        """Take the components of the loss: means of some steps, or a held-out measurement."""
        return  # a body: what has none is abstract

    def warning(self, warning: TrainingWarning) -> None:  # noqa: ARG002  # for subclasses
        """Take what must not be overlooked, at any time."""
        return  # a body: what has none is abstract

    def done(self, outcome: Outcome) -> None:  # noqa: ARG002  # for subclasses
        """Take how the run ended, once, after everything is written. It is not called after an error."""
        return  # a body: what has none is abstract


class Silent(Observer):
    """Looks away."""


def require_observer(observer: object) -> Observer:
    """Return an observer.

    Raises:
        InputError: it lacks a method.
    """
    if observer is None:
        return Silent()
    if not isinstance(observer, Observer):
        raise InputError(
            f"an observer has the methods summary, record, warning and done: got {observer!r}",
            culprit="observer",
            remedy="Make it a subclass of distill.Observer, which has all four.",
        )
    return observer
