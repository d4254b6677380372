"""Pools that train the runs of an ablation: in this process, or in several. Loads no torch."""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Protocol

from attrs import define, field, frozen

from distill.ablation.folder import AblationFolder

_SECONDS_TO_SAVE = 30
"""So long is waited for a process that was told to stop. Training takes at most ten to save."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@frozen
class Done:
    """A run that is trained and measured, or failed with this message."""

    name: str
    failure: str | None = None


class Pool(Protocol):
    """A set of workers that train runs."""

    @property
    def free(self) -> int:
        """The number of further runs that can be started now."""
        ...

    def start(self, name: str) -> None:
        """Begin a run."""
        ...

    def wait(self, seconds: float) -> Iterator[Done]:
        """Yield the runs that end within a time, at once if some have ended already."""
        ...

    def stop(self) -> None:
        """Stop all runs, which are saved."""
        ...


class ThisProcess:
    """A pool that trains one run at a time, in this process."""

    def __init__(self, folder: AblationFolder, recordings: str | None, tick: Callable[[], None]) -> None:
        self._folder, self._recordings, self._tick = folder, recordings, tick
        self._name: str | None = None

    @property
    def free(self) -> int:
        """The number of further runs that can be started now."""
        return int(self._name is None)

    def start(self, name: str) -> None:
        """Add a run to those that `wait` trains."""
        self._name = name

    def wait(self, seconds: float) -> Iterator[Done]:  # noqa: ARG002  # it takes as long as it takes
        """Train the run."""
        from distill.ablation.worker import execute  # noqa: PLC0415  # torch

        if self._name is not None:
            name, self._name = self._name, None
            yield Done(name, execute(self._folder, name, self._recordings, self._tick))

    def stop(self) -> None:
        """Do nothing: the signal that stops this process has stopped the run."""


@define
class _Worker:
    process: "subprocess.Popen[str]"
    name: str | None = None
    output: IO[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self.process.stdout is not None  # noqa: S101  # it is a pipe
        self.output = self.process.stdout


class Processes:
    """A pool of up to `jobs` processes, each of which trains one run after the other."""

    def __init__(self, folder: AblationFolder, recordings: str | None, jobs: int) -> None:
        self._folder, self._recordings, self._jobs = folder, recordings, jobs
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    @property
    def free(self) -> int:
        """The number of further runs that can be started now."""
        return self._jobs - sum(worker.name is not None for worker in self._workers)

    def start(self, name: str) -> None:
        """Begin a run in an idle process, or in a new one."""
        worker = next((worker for worker in self._workers if worker.name is None), None) or self._begin()
        worker.name = name
        with suppress(BrokenPipeError):  # it has ended, which `wait` notices
            worker.process.stdin.write(f"{json.dumps(name)}\n")  # type: ignore[union-attr]  # a pipe
            worker.process.stdin.flush()  # type: ignore[union-attr]

    def wait(self, seconds: float) -> Iterator[Done]:
        """Yield the runs that end within a time."""
        for key, _ in self._selector.select(seconds):
            worker: _Worker = key.data
            answer = worker.output.readline()
            name, worker.name = worker.name, None
            failure = json.loads(answer) if answer else self._ended(worker, name)
            if name is not None:
                yield Done(name, failure)

    def stop(self) -> None:
        """End the standard input of all processes, which then save and end, and wait for them."""
        for worker in self._workers:
            with suppress(OSError):
                worker.process.stdin.close()  # type: ignore[union-attr]  # a pipe
        for worker in self._workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(_SECONDS_TO_SAVE if worker.name else 1)
            worker.process.kill()
            worker.process.wait()
            worker.output.close()
        self._workers.clear()
        self._selector.close()

    def _begin(self) -> _Worker:
        log = self._folder.log("processes")
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "distill.ablation.worker", str(self._folder.path)]
        with log.open("a") as errors:
            process = subprocess.Popen(  # noqa: S603  # our own module
                [*command, *([self._recordings] if self._recordings else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=threads(self._jobs),
                start_new_session=True,  # Ctrl-C is for this process, which tells the others to stop
            )
        worker = _Worker(process)
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _ended(self, worker: _Worker, name: str | None) -> str:
        """Forget a process that has ended by itself, and return a message about it."""
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        code = worker.process.wait()
        worker.output.close()
        with suppress(OSError):  # what it was not able to read any more
            worker.process.stdin.close()  # type: ignore[union-attr]  # a pipe
        cause = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        more = ", perhaps for lack of memory" if code == -9 else ""
        message = f"its process {cause}{more} (see {self._folder.log('processes')})"
        if name is not None:
            self._folder.record_failure(name, message)
        return message


def threads(jobs: int) -> Mapping[str, str]:
    """Return the environment of each of several processes, which share the cores of this machine.

    A number of threads that the user has set stays.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return {**dict.fromkeys(_THREADS, str(max(1, cores // jobs))), **os.environ}
