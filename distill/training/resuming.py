"""The checkpoint and the corpus from which a resumed run continues."""

import hashlib
import math
from collections.abc import Callable, Mapping
from shlex import quote
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import Tensor

import distill
from distill.audio.corpus import Corpus
from distill.audio.corpus.continuing import Digests, as_recorded
from distill.audio.corpus.membership import Membership
from distill.errors import CorpusError, RunError
from distill.recipe import Draft, Recipe
from distill.storage.checkpoints import Checkpoint, Which, load_checkpoint, load_latest, save_checkpoint
from distill.storage.run import Run
from distill.training.changed_options import ACCEPT, options_of, require_recorded_options


@frozen(kw_only=True)
class Resuming:
    """How a run is resumed: from which checkpoint, and whether changed options and recordings are accepted.

    By default, it is resumed from the newest undamaged checkpoint, and changes are not accepted.
    """

    checkpoint: Which | None = None
    accept_changes: bool = False

    def find_state(self, run: Run, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the state of the checkpoint, or None for a run that was stopped before its first one.

        `warn` is called with each damaged checkpoint that is newer, and if the run will not go on exactly as
        before.

        Raises:
            RunError: there is no such checkpoint; none can be read; it is not the state of a training run; or
                the run is trained and has none.
        """
        if self.checkpoint is None:
            checkpoint = load_latest(run.checkpoints)
        else:
            checkpoint = load_checkpoint(run.checkpoints, self.checkpoint)
        if checkpoint is None:
            _require_unbegun(run)
            return None
        _require_whole(checkpoint, run)
        for damaged in checkpoint.damaged:
            warn(str(damaged))
        return _portable(checkpoint.state, warn)

    def require_unchanged(self, draft: Draft, run: Run, state: Mapping[str, Any] | None) -> None:
        """Check that the options are those of the checkpoint, and that the initial model is there.

        Raises:
            ConfigError: recipe.toml was changed by hand.
            RunError: the model that the run began with is missing.
        """
        begun = draft.recipe.provenance.get("training.start", "none") != "none"
        if state is not None and begun and not run.start.exists():
            raise RunError(
                "the model that the run began with is missing",
                culprit=str(run.start),
                remedy="Restore it from a copy, or start a new run.",
            )
        if state is not None:
            require_recorded_options(draft, state, run, accept=self.accept_changes)

    def continued(
        self,
        corpus: Corpus,
        draft: Draft,
        run: Run,
        state: dict[str, Any] | None,
        warn: Callable[[str], None],
    ) -> tuple[Corpus, dict[str, Any] | None]:
        """Return the corpus in the order and split of the record, and the state.

        The recordings may have been moved or renamed. If others are there by now, and that is accepted, the
        state has no held-out losses, which would not be comparable. A run without a state begins with what
        is there.

        Raises:
            CorpusError: the recordings have changed, and that is not accepted.
        """
        if state is None:
            return corpus, None
        corpus, problem = _compared(corpus, draft, run, state)
        if not problem:
            return corpus, state
        if not self.accept_changes:
            raise CorpusError(
                problem,
                culprit=str(corpus.folder),
                remedy=f"Restore them, or {ACCEPT} to go on with what is there. What was held out stays held "
                "out, and what was trained on stays trained on.",
            )
        if not corpus.train.seconds:
            raise CorpusError("holds no recordings to train on", culprit=str(corpus.folder))
        warn(f"{corpus.folder}: {problem}")
        return corpus, state | {"heldout_totals": [], "best": None}

    def adopt(self, run: Run, state: Mapping[str, Any] | None, *, keep: int) -> None:
        """Make the chosen checkpoint the newest. Later ones are of steps that will be repeated.

        Raises:
            RunError: it cannot be written.
        """
        if state is not None and self.checkpoint is not None:
            save_checkpoint(run.checkpoints, state["step"], state, keep=keep)


def earlier_membership(run: Run) -> Membership | None:
    """Return the record of the recordings of a run, or None if it is missing or damaged."""
    try:
        return Membership.read(run.split, edited=True)
    except RunError:
        return None


def made_with(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """Return what a checkpoint depends on: options, digests of recordings and split, versions."""
    return {
        "recipe": options_of(recipe),
        "corpus": attrs.asdict(Digests.of(corpus)),
        "versions": _versions(),
    }


def _require_unbegun(run: Run) -> None:
    """Check that nothing is lost if a run without a checkpoint begins anew."""
    for path in (run.model, run.latents):
        if path.exists():
            raise RunError(
                f"holds {path.name}, and no checkpoint to go on from",
                culprit=str(run.folder),
                remedy=f"Restore {run.checkpoints.name}/ from a copy, or begin a new run with its model: "
                f"distill train CORPUS --set {quote(f'training.start={run.folder}')}",
            )


def _require_whole(checkpoint: Checkpoint, run: Run) -> None:
    """Check that a state has the parts that are used before the trainer restores it.

    Raises:
        RunError: it has not, as a file that was made by another program.
    """
    state = checkpoint.state
    made = state.get("made_with", {})
    window = state.get("window", {"first": 0})
    records = state.get("records", [])
    whole = (
        _is_number(state.get("seconds"))
        and _is_count(state.get("evaluations"))
        and isinstance(noise := state.get("noise"), Tensor)
        and noise.dtype == torch.uint8
        and isinstance(made, dict)
        and all(isinstance(each, dict) for each in made.values())
        and isinstance(window, dict)
        and _is_count(window.get("first"))
        and isinstance(records, list)
        and all(isinstance(each, dict) and _is_count(each.get("step")) for each in records)
    )
    if not whole:
        raise RunError(
            f"the checkpoint of step {checkpoint.step} does not hold the whole state of a training run",
            culprit=str(run.checkpoints),
            remedy="Restore it from a copy, or train again.",
        )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf  # type: ignore[operator]  # a number


def _portable(state: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return a state for this machine and this version of Distill."""
    made = state.get("made_with", {}).get("versions", {})
    for name, now in _versions().items():
        if made.get(name, now) != now:
            warn(
                f"The checkpoint was made with {name} {made[name]}, and this is {now}. The run goes on, and "
                "may differ in rounding from one that was never stopped."
            )
    noise = state.get("noise")
    expected = torch.Generator().get_state()
    if isinstance(noise, Tensor) and noise.shape != expected.shape:
        # Distill 0.2.0 drew the noise on the device, whose generators have other states.
        seed = int.from_bytes(hashlib.sha256(noise.numpy().tobytes()).digest()[:7], "little")
        warn(
            "The checkpoint holds the state of another device's random numbers. The run goes on with other "
            "noise than one that was never stopped."
        )
        return state | {"noise": torch.Generator().manual_seed(seed).get_state()}
    return state


def _versions() -> dict[str, str]:
    # Not those of installed distributions: Distill may run from its sources.
    return {"distill": distill.__version__, "torch": str(torch.__version__)}


def _compared(corpus: Corpus, draft: Draft, run: Run, state: Mapping[str, Any]) -> tuple[Corpus, str]:
    """Return a corpus as recorded, and how it differs from what the run was trained with, if it does."""
    recorded = earlier_membership(run)
    if recorded is not None:
        corpus, changes = as_recorded(corpus, recorded, draft.recipe.corpus.heldout_fraction)
        if changes:
            return corpus, f"the recordings have changed since the run was trained: {changes}"
    return corpus, Digests.of(corpus).difference(state.get("made_with", {}).get("corpus", {}))
