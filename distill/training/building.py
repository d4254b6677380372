"""Functions that build the loss and open the corpus of a recipe."""

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
from distill.audio.corpus.places import cache_folder
from distill.config.settings import ARRAYS, CorpusSettings
from distill.errors import CorpusError, RunError
from distill.loss.composer import CombinedLoss
from distill.model.building import seeded
from distill.recipe import Draft
from distill.storage.checkpoints import load_latest
from distill.storage.files import file_name
from distill.storage.run import Run


def make_loss(draft: Draft, seed: int) -> CombinedLoss:
    """Return the loss of a recipe. `seed` initializes the parameters that its terms own.

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
    """Load the state of a loss's terms from the latest checkpoint of a run that has these terms.

    Raises:
        RunError: the state does not fit the options of the terms.
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
    """Open the corpus of a recipe, or the demo corpus, with a cache beside the runs in the folder `runs`.

    A sharded corpus is streamed: `seed` determines the order of the shards, which are distributed over
    `processes`. A corpus of `arrays` stays in memory.

    Raises:
        CorpusError: the corpus does not exist, or holds no usable audio.
    """
    if arrays is not None:
        return open_arrays(
            arrays,
            sample_rate=sample_rate,
            heldout_fraction=settings.heldout_fraction,
            full_scale=settings.full_scale,
        )
    if settings.path == ARRAYS:
        raise CorpusError(
            "the corpus was given as arrays, in Python, and is missing",
            remedy="Pass the arrays again in Python, or a folder of recordings.",
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
    caches = cache_folder(runs)
    folder = write_demo_corpus(caches / "demo") if settings.path is None else Path(settings.path)
    # One cache per corpus, so that runs that alternate between corpora need not decode again.
    digest = hashlib.sha256(f"{folder.resolve()} {sample_rate}".encode()).hexdigest()[:12]
    cache = caches / file_name(folder.stem, f"-{digest}", caches)
    return open_corpus(
        folder,
        sample_rate=sample_rate,
        cache=cache,
        heldout_fraction=settings.heldout_fraction,
        full_scale=settings.full_scale,
        on_progress=on_progress,
    )
