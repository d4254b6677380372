"""A run of an ablation as a job of a cluster, which is put back when its time is up. Loads no torch."""

import os
import signal
from typing import Any

from attrs import frozen

from distill.ablation.folder import AblationFolder
from distill.ablation.queue import states_of_jobs
from distill.ablation.worker import execute
from distill.training.interruption import Signals


@frozen
class Job:
    """A function that trains and measures a run; it returns None, or the message of the error.

    Shortly before its time limit, a job receives SIGUSR2, and SIGTERM when another job is to have its place.
    The run is saved, and submitit's handler of SIGUSR2 puts the job back in the queue, where it goes on from
    the checkpoint. A job that is cancelled receives SIGTERM as well. The run is saved, and the job ends.
    """

    folder: AblationFolder
    name: str
    recordings: str | None

    def __call__(self) -> str | None:
        """Train and measure the run.

        Raises:
            KeyboardInterrupt: the job is cancelled. What there is of the run is saved.
            SystemExit: the job is in the queue again.
        """
        before, at_limit = self._progress(), False
        put_back = signal.getsignal(signal.SIGUSR2)

        def stop(*_: object) -> None:
            nonlocal at_limit
            at_limit = True
            signal.raise_signal(signal.SIGTERM)

        with Signals():  # submitit ignores SIGTERM
            signal.signal(signal.SIGUSR2, stop)
            try:
                return execute(self.folder, self.name, self.recordings)
            except KeyboardInterrupt:
                if not callable(put_back) or not (at_limit or _counts_as_running()):
                    raise
        if at_limit and self._progress() == before:  # it would stop at the same place for ever
            message = "the time limit of its job was reached before it had got any further"
            self.folder.record_failure(self.name, message)
            return message
        put_back(signal.SIGUSR2, None)
        return None

    def checkpoint(self) -> Any:  # noqa: ANN401  # submitit has no types
        """Return what submitit is to call when the job begins again."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415  # an extra

        return DelayedSubmission(self)

    def _progress(self) -> object:
        """Return what is another value when the run has got further."""
        checkpoints = self.folder.run(self.name).checkpoints
        return self.folder.state(self.name) == "finished", sorted(checkpoints.glob("step-*"))


def _counts_as_running() -> bool:
    """Return whether SLURM counts the job of this process as running, so that it was not cancelled."""
    number = os.environ.get("SLURM_JOB_ID")
    return number is not None and (states_of_jobs() or {}).get(number) == "RUNNING"
