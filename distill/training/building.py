"""The parts of a training run, made of its recipe: the loss, and the corpus."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from distill.audio.corpus import (
    Corpus,
    NamedArray,
    is_sharded,
    open_arrays,
    open_corpus,
    open_shards,
    write_demo_corpus,
)
from distill.errors import CorpusError, RunError
from distill.loss.composer import CombinedLoss
from distill.model.building import seeded
from distill.recipe import Draft
from distill.settings import ARRAYS, CorpusSettings
from distill.storage.checkpoints import load_latest
from distill.storage.run import Run

_CACHE = ".distill"


def make_loss(draft: Draft, seed: int) -> CombinedLoss:
    """Make the loss of a recipe, parameters that its terms own drawn with a seed.

    Raises:
        TermError: a term or the balancer cannot be built.
    """
    with seeded(seed):
        balancer = None
        if draft.balancer is not None:
            config = draft.recipe.balancing[draft.balancer.name]
            balancer = draft.balancer.build(config, tuple(term.name for term in draft.terms))
        return CombinedLoss(draft.terms, draft.recipe.loss, balancer=balancer)


def load_terms(run: Run, loss: CombinedLoss) -> None:
    """Give those terms of a loss that the run has, too, what they have learnt in it.

    Raises:
        RunError: what they have learnt does not fit their options.
    """
    checkpoint = load_latest(run.checkpoints) if loss.state_dict() else None
    learnt = checkpoint.state.get("loss", {}) if checkpoint else {}
    try:
        loss.load_state_dict(learnt, strict=False)
    except RuntimeError as error:
        raise RunError(
            "its terms were trained with other options than they have here",
            culprit=str(run.folder),
            remedy="Leave these options as the run has them.",
        ) from error


def open_recipe_corpus(
    settings: CorpusSettings,
    sample_rate: int,
    runs: Path,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    arrays: Iterable[NamedArray] | None = None,
    seed: int = 0,
    process: int = 0,
    processes: int = 1,
) -> Corpus:
    """Open the corpus of a recipe, or the demo corpus, with its cache in the folder `runs`.

    A sharded one is streamed: `seed` orders the shards, which `processes` deal out among them. One that
    was given as `arrays` stays in memory.

    Raises:
        CorpusError: it is not there, or holds no audio that can be used.
    """
    if arrays is not None:
        return open_arrays(arrays, sample_rate=sample_rate, heldout_fraction=settings.heldout_fraction)
    if settings.path == ARRAYS:
        raise CorpusError(
            "the corpus was given as arrays, in Python, and is missing",
            remedy="Give the arrays again in Python, or a folder of recordings.",
        )
    if settings.path is not None and is_sharded(settings.path):
        return open_shards(
            settings.path.rstrip("/"),
            sample_rate=sample_rate,
            pool_shards=settings.pool_shards,
            seed=seed,
            process=process,
            processes=processes,
        )
    folder = write_demo_corpus(runs / _CACHE / "demo") if settings.path is None else Path(settings.path)
    # A cache for each corpus, so that runs on two of them do not decode in turn.
    digest = hashlib.sha256(f"{folder.resolve()} {sample_rate}".encode()).hexdigest()[:12]
    cache = runs / _CACHE / f"{folder.stem}-{digest}"
    return open_corpus(
        folder,
        sample_rate=sample_rate,
        cache=cache,
        heldout_fraction=settings.heldout_fraction,
        on_progress=on_progress,
    )
