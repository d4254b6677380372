"""Estimates of how long the runs of an ablation take, from earlier runs. Loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from distill.config.settings import DEFAULT_MINUTES
from distill.config.words import counted, duration_in_words, folder_in_words
from distill.errors import DistillError
from distill.reporting.listing import Listed, list_runs
from distill.storage.run import Run

_SAME = ("model", "representation")
_SAME_TRAINING = ("batch_size", "clip_seconds")


def estimate(recipe: Mapping[str, Any], runs: int, jobs: int, folder: Path) -> str:
    """Return in words how long `runs` runs of a recipe take, `jobs` at a time.

    The time of a step is the median of the runs in the folder, else of those beside it, which have the same
    model, representation and size of a batch.
    """
    if not runs:
        return "nothing is left to train"
    rounds = -(-runs // jobs)
    training = recipe["training"]
    steps = training.get("steps")
    if steps is None:
        each = training.get("minutes", DEFAULT_MINUTES)
        return f"about {duration_in_words(rounds * each * 60)}, and some for the end of each run"
    for place in (folder, folder.parent):
        known = [run.seconds / run.steps for run in _like(recipe, place)]
        if known:
            told = f"as {counted(len(known), 'run')} in {folder_in_words(place)} took for each step"
            steps_take = duration_in_words(rounds * steps * median(known))
            return f"about {steps_take} for the steps, {told}, and some for the end of each run"
    return "not known before the first run, since there is none like these to go by"


def _like(recipe: Mapping[str, Any], folder: Path) -> list[Listed]:
    if not folder.is_dir():
        return []
    return [run for run in list_runs(folder) if run.steps and run.seconds and _alike(run, recipe)]


def _alike(run: Listed, recipe: Mapping[str, Any]) -> bool:
    try:
        other = Run(run.folder).read_recipe()
    except DistillError:
        return False
    one, two = (each.get("training", {}) for each in (recipe, other))
    return all(recipe.get(name) == other.get(name) for name in _SAME) and all(
        one.get(name) == two.get(name) for name in _SAME_TRAINING
    )
