"""The facts of a run that its page shows, gathered from the run folder: plain values without HTML."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from attrs import field, frozen

from distill.audio.corpus.membership import Membership
from distill.audio.progress import Progress
from distill.audio.soundfiles import read_audio
from distill.errors import DistillError
from distill.inference import Model, load
from distill.reporting.history import History
from distill.reporting.latents import Latents, measure_latents
from distill.reporting.sounds import Sounds, read_sounds
from distill.storage.checkpoint_files import step_reached
from distill.storage.ending import Ending, ending_of
from distill.storage.run import Run

_MOST_SKIPPED = 200


@frozen(kw_only=True)
class Split:
    """The number of recordings, or of shards, that a run trained on and held out."""

    train: int
    heldout: int
    sharded: bool


@frozen(kw_only=True)
class Facts:
    """The facts of a run.

    Attributes:
        run: the run folder.
        ending: the state of the run.
        history: the records.
        terms: the distribution of each loss term.
        recipe: the text of the recipe.
        tree: the recipe as plain data.
        split: how many recordings there are, None if that is not recorded.
        skipped: the lines of `skipped.txt`, at most 200.
        skipped_count: the number of lines.
        sounds: held-out originals and reconstructions.
        latents: statistics of the latents, None if there are none.
        missing: a sentence for each thing that cannot be shown, with the reason.
    """

    run: Run
    ending: Ending
    history: History
    terms: Mapping[str, str]
    recipe: str
    tree: Mapping[str, Any]
    split: Split | None = None
    skipped: tuple[str, ...] = ()
    skipped_count: int = 0
    sounds: Sounds = field(factory=Sounds)
    latents: Latents | None = None
    missing: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The step that the run has reached, which may be later than that of its last record."""
        return step_reached(self.run.checkpoints, self.history.step)

    @property
    def provenance(self) -> Mapping[str, str]:
        """The provenance as the recipe records it."""
        return _strings(self.tree.get("provenance"))

    @property
    def corpus(self) -> str:
        """The location of the corpus."""
        corpus = self.tree.get("corpus")
        path = corpus.get("path") if isinstance(corpus, Mapping) else None
        return str(path) if path else "the demo corpus"


def gather(run: Run, *, on_progress: Callable[[Progress], None] | None = None) -> Facts:
    """Read what there is of a run. `on_progress` is called while sounds are measured, and made for the map.

    Raises:
        RunError: the folder is not a run, or its metrics cannot be read.
        ConfigError: the recipe is not TOML.
    """
    tree = run.read_recipe()
    history = History.read(run)
    missing: list[str] = []
    if history.damaged:
        lines = ", ".join(map(str, history.damaged[:5])) + (" ..." if len(history.damaged) > 5 else "")
        missing.append(f"{len(history.damaged)} lines of metrics.jsonl hold no record: {lines}.")
    sounds = read_sounds(run, on_progress=on_progress)
    missing += [f"A sound cannot be read: {each}." for each in sounds.unreadable]
    skipped = _lines(run)
    return Facts(
        run=run,
        ending=ending_of(run),
        history=history,
        terms=_terms(tree, history),
        recipe=run.recipe.read_text(encoding="utf-8", errors="replace"),
        tree=tree,
        split=_split(run, missing),
        skipped=skipped[:_MOST_SKIPPED],
        skipped_count=len(skipped),
        sounds=sounds,
        latents=_latents(run, sounds, missing, on_progress),
        missing=tuple(missing),
    )


def _terms(tree: Mapping[str, Any], history: History) -> dict[str, str]:
    """Return the distribution of each term, in the order of the recipe."""
    loss, provenance = tree.get("loss"), _strings(tree.get("provenance"))
    names = [*(loss if isinstance(loss, Mapping) else ()), *history.weights]
    return {name: provenance.get(name, "") for name in dict.fromkeys(map(str, names))}


def _strings(table: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, Mapping) else {}


def _split(run: Run, missing: list[str]) -> Split | None:
    try:
        members = Membership.read(run.split)
    except DistillError as error:
        missing.append(f"How the corpus was split is not shown: {error.problem}.")
        return None
    return Split(train=len(members.train), heldout=len(members.heldout), sharded=members.sharded)


def _lines(run: Run) -> tuple[str, ...]:
    try:
        text = run.skipped.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(line for line in text.split("\n") if line)


def _latents(
    run: Run, sounds: Sounds, missing: list[str], on_progress: Callable[[Progress], None] | None
) -> Latents | None:
    """Return the statistics of the latents, or add the reason why there are none to `missing`."""
    if not run.latents.exists():
        missing.append("Latents are not shown: they are written when the training ends.")
        return None
    try:
        model = load(run)
        return measure_latents(model, _originals(run, sounds, model), on_progress=on_progress)
    except DistillError as error:
        missing.append(f"Latents are not shown: {error.problem}.")
        return None


def _originals(run: Run, sounds: Sounds, model: Model) -> list[torch.Tensor]:
    read = (read_audio(run.audio / pair.files[0]) for pair in sounds.pairs)
    return [waveform for waveform, rate in read if rate == model.sample_rate]
