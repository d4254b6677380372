"""The queue of SLURM, as `squeue` shows it, and the numbers of the jobs that a folder has in it."""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from distill.errors import ConfigError, RunError
from distill.storage.files import naming, read_bounded, write_whole

_SECONDS = 30.0
"""Between two looks at the queue. The results of jobs are seen sooner, as files."""

_SECONDS_TO_SAVE = 45.0
"""So long is waited for cancelled jobs. SLURM gives them 30 seconds, unless its KillWait is longer."""

_SECONDS_TO_ANSWER = 120.0

_LARGEST = 2**20

_ENDED = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
        "PREEMPTED", "REVOKED", "TIMEOUT",
    }
)  # fmt: skip


_NEVER = frozenset({"BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit"})
"""Why jobs wait for ever, unless their parameters are changed. Not every SLURM refuses them at once."""


@define
class Queue:
    """The jobs of one folder in the queue of SLURM.

    It asks `squeue`, since not every SLURM keeps the accounts that `sacct` reads. The numbers of jobs are in
    the file `jobs.json`, so that a command finds the jobs of an earlier one that was killed.
    """

    folder: Path
    _jobs: dict[str, str] = field(init=False)
    """The numbers of jobs by the names of their runs."""
    _states: Mapping[str, str] = field(init=False, factory=dict)
    """The last known states of jobs by their numbers."""
    _missing: dict[str, int] = field(init=False, factory=dict)
    """In how many looks in succession jobs were not in the queue."""
    _looked: float = field(init=False, factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self._jobs = self._read()
        states = states_of_jobs() if self._jobs else None
        if states is not None:
            there = _in_progress(states)
            self._jobs = {run: number for run, number in self._jobs.items() if number in there}

    def number(self, run: str) -> str | None:
        """Return the number of the job of a run that was in the queue, or None."""
        return self._jobs.get(run)

    def enter(self, run: str, number: str) -> None:
        """Record the job of a run."""
        self._jobs[run] = number
        self._write()

    def leave(self, run: str) -> None:
        """Forget the job of a run, which has ended."""
        self._missing.pop(self._jobs.pop(run, ""), None)
        self._write()

    def look(self) -> None:
        """Look at the queue, if that was not done a moment ago.

        Raises:
            ConfigError: a job is never going to start.
        """
        if time.monotonic() - self._looked < _SECONDS:
            return
        self._looked = time.monotonic()
        states = states_of_jobs()
        if states is None:
            return
        self._states = {**self._states, **states}
        for number in self._jobs.values():
            if (why := states.get(number)) in _NEVER:
                raise ConfigError(
                    f"the job {number} is never going to start: {why}",
                    culprit="--slurm",
                    remedy="Ask for what the partition allows, such as --slurm time=60 (minutes).",
                )
        there = _in_progress(states)
        self._missing = {
            number: 0 if number in there else self._missing.get(number, 0) + 1
            for number in self._jobs.values()
        }

    def has_left(self, run: str) -> bool:
        """Return whether the job of a run has left the queue.

        A job is between two states for a moment when it is put back, and its result may arrive late on a
        shared disk. So it has left if two looks have missed it.
        """
        return self._missing.get(self._jobs.get(run, ""), 0) > 1

    def state(self, run: str) -> str:
        """Return how the job of a run has ended, in SLURM's word, empty if it is not known."""
        state = self._states.get(self._jobs.get(run, ""), "")
        return state if state in _ENDED else ""

    def cancel(self, runs: Iterable[str]) -> None:
        """Cancel the jobs of runs, and wait while they save.

        Raises:
            RunError: SLURM does not answer, and the jobs go on.
        """
        numbers = {run: self._jobs[run] for run in runs if run in self._jobs}
        if not numbers:
            return
        answer = subprocess.run(  # noqa: S603  # of SLURM
            ["scancel", *numbers.values()],  # noqa: S607
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if answer.returncode:
            raise RunError(
                f"the jobs could not be cancelled, and go on: {(answer.stderr.splitlines() or [''])[0]}",
                culprit=" ".join(numbers.values()),
                remedy="The same command waits for them. To cancel them later, use scancel.",
            )
        for run in numbers:
            self.leave(run)
        end = time.monotonic() + _SECONDS_TO_SAVE
        while _in_progress(states_of_jobs() or {}).intersection(numbers.values()) and time.monotonic() < end:
            time.sleep(1)

    @property
    def _file(self) -> Path:
        return self.folder / "jobs.json"

    def _read(self) -> dict[str, str]:
        with suppress(OSError, ValueError, RecursionError):  # without it, runs wait for those in progress
            content = json.loads(read_bounded(self._file, _LARGEST))
            return {str(name): str(number) for name, number in content.items()}
        return {}

    def _write(self) -> None:
        with naming(self._file):
            write_whole(self._file, json.dumps(self._jobs, indent=1).encode())


def states_of_jobs() -> Mapping[str, str] | None:
    """Return the states of the user's jobs by their numbers, or None if SLURM does not answer.

    For a job that is never going to start, it is the reason.
    """
    command = ["squeue", "--noheader", "--states=all", "--format=%i %T %r", f"--user={os.getuid()}"]
    try:
        answer = subprocess.run(  # noqa: S603  # of SLURM
            command, capture_output=True, text=True, check=True, timeout=_SECONDS_TO_ANSWER
        )
    except (OSError, subprocess.SubprocessError):
        return None
    states = {}
    for line in answer.stdout.splitlines():
        number, state, why = [*line.split(maxsplit=2), "", "", ""][:3]
        states[number] = why if state == "PENDING" and why in _NEVER else state  # a reason stays for ever
    return states


def _in_progress(states: Mapping[str, str]) -> frozenset[str]:
    return frozenset(number for number, state in states.items() if state not in _ENDED)
