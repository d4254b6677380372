"""Training and measurement of one run of an ablation, from the beginning or from a checkpoint."""

import time
from collections.abc import Callable
from contextlib import suppress

from distill.ablation.folder import AblationFolder
from distill.comparison.measures import heldout_measures
from distill.errors import LockError
from distill.storage.locking import is_held
from distill.storage.run import Run
from distill.training.observing import Observer
from distill.training.record import Record
from distill.training.train import train

_SECONDS = 0.5


class _Ticking(Observer):
    """An observer that calls a function at each record."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick

    def record(self, record: Record) -> None:  # noqa: ARG002  # the function looks for itself
        """Call the function."""
        self._tick()


def train_and_measure(
    folder: AblationFolder, name: str, recordings: str | None, tick: Callable[[], None] = lambda: None
) -> None:
    """Train a run of an ablation and measure it. Steps that were completed earlier are not repeated.

    A run that another process is training is waited for: the process of an ablation that was killed still
    saves it, or a job of a cluster is at it.

    Args:
        folder: the folder of the ablation, which holds the plan.
        name: the name of the run.
        recordings: what to measure, by default the recordings that the run holds out.
        tick: called now and then while the run is training.

    Raises:
        DistillError: the run cannot be trained or measured.
        Interrupted: SIGINT, SIGTERM or SIGHUP was received. What there is of the run is saved.
    """
    plan, run = folder.read_plan(), folder.run(name)
    while folder.state(name) != "finished":
        _wait(run, tick)
        if folder.state(name) == "finished":
            break
        with suppress(LockError):  # another process was faster, and is waited for
            observer = _Ticking(tick)
            if run.recipe.exists():
                train(plan.corpus, out=run.folder, resume=True, observer=observer)
            else:
                train(plan.corpus, recipe=plan.runs[name], out=run.folder, observer=observer)
    heldout_measures(run, recordings)


def _wait(run: Run, tick: Callable[[], None]) -> None:
    while is_held(run.folder):
        time.sleep(_SECONDS)
        tick()
