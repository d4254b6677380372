"""The runs of an ablation as jobs of a cluster, through submitit. Loads no torch."""

import os
import re
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from io import StringIO
from typing import Any, Literal

from attrs import frozen

from distill.ablation.folder import AblationFolder
from distill.ablation.pools import Done
from distill.ablation.queue import Queue
from distill.arguments import options_by_address
from distill.errors import ConfigError, InputError

_COMMON = frozenset(
    {"timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name"}
)
"""Parameters that submitit has for every kind of cluster."""

_SCRIPT = frozenset({"setup", "teardown", "srun_args", "use_srun", "signal_delay_s", "stderr_to_stdout"})
"""What submitit writes to the script of a job. All others are parameters of sbatch, which checks them."""

_SBATCH = frozenset({"nodes", "cpus_per_task", "gpus_per_node"})
"""Common parameters that sbatch has by the same name, and with more values, such as `a100:2`."""

_MINUTES = 24 * 60
"""The time limit of a job, unless the user gives one. A run that it cuts off goes on in the next job."""

_ANY_NUMBER = 1_000_000
"""So often a job may reach its time limit. It ends by itself if it gets no further between two of them."""

_SECONDS_TO_RETRY = 30.0

_SECONDS_TO_SAVE = 30.0
"""So long is waited for jobs of this machine that were told to stop. Training takes at most ten to save."""

_SECONDS_TO_LOOK = 0.05

_LACK = re.compile(r"out[ _-]of[ _-]memory|\boom\b|oom[-_ ]kill|memory limit", re.IGNORECASE)
"""How the machines of a cluster say that a job had too little memory."""

_MOST_TOLD = 4096
"""So many bytes at the end of a job's output are searched for it."""


@frozen(kw_only=True)
class ClusterSettings:
    """The kind of a cluster and the parameters of its jobs. `local` rehearses on this machine."""

    kind: Literal["slurm", "local"]
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, kind: str | None, parameters: Mapping[str, Any]) -> "ClusterSettings | None":
        """Return the settings, or None if there is no cluster.

        Raises:
            InputError: the kind is unknown, parameters are given without a cluster, or submitit is not
                installed.
        """
        expected = "parameters of sbatch by name"
        given = dict(
            options_by_address(parameters, culprit="slurm", expected=expected, example='{"time": 60}')
        )
        if kind is None:
            if given:
                raise InputError(
                    "is for the jobs of a cluster", culprit="slurm", remedy="Add --cluster slurm."
                )
            return None
        if kind not in ("slurm", "local"):
            raise InputError(f"expected 'slurm' or 'local', got {kind!r}", culprit="cluster")
        try:
            import submitit  # noqa: F401, PLC0415  # an extra
        except ImportError as error:
            raise InputError(
                "jobs of a cluster need submitit, which is not installed",
                culprit="cluster",
                remedy='Install it: pip install "distill[slurm]"',
            ) from error
        return cls(kind="slurm" if kind == "slurm" else "local", parameters=given)

    def of_submitit(self) -> dict[str, Any]:
        """Return the parameters by the names that submitit gives them."""
        own = _COMMON if self.kind == "local" else _COMMON - _SBATCH
        named: dict[str, Any] = {"timeout_min": _MINUTES, "name": "distill"}
        sbatch: dict[str, Any] = {"requeue": True}
        for name, value in self.parameters.items():
            if name in own:
                named[name] = value
            elif name in _SCRIPT:
                named[f"slurm_{name}"] = value
            elif value is not False:
                sbatch[name] = value
        return {**named, "slurm_additional_parameters": sbatch}


class Cluster:
    """A pool of up to `jobs` jobs at a time in the queue of a cluster, whose machines share the folder."""

    def __init__(
        self, folder: AblationFolder, recordings: str | None, jobs: int, settings: ClusterSettings
    ) -> None:
        self._folder = AblationFolder(folder.path.resolve())
        self._recordings, self._jobs = recordings, jobs
        self._executor = _executor(self._folder, settings)
        self._queue = Queue(self._folder.jobs) if settings.kind == "slurm" else None
        self._running: dict[str, Any] = {}
        self._refused: list[str] = []
        self._refused_at = 0.0

    @property
    def free(self) -> int:
        """The number of further jobs that can be submitted now."""
        return self._jobs - len(self._running) - len(self._refused)

    def start(self, name: str) -> None:
        """Submit a run, unless a job of an earlier command is at it, which is then waited for.

        Raises:
            ConfigError: the cluster refuses the job, and none is in progress. Otherwise, `wait` tries again.
        """
        if self._queue is not None and (number := self._queue.number(name)) is not None:
            from submitit import SlurmJob  # noqa: PLC0415  # an extra

            self._running[name] = SlurmJob(self._folder.jobs, number)
            return
        from submitit.core.utils import FailedJobError, FailedSubmissionError  # noqa: PLC0415

        from distill.ablation.job import Job  # noqa: PLC0415  # a job imports it

        try:
            with (
                redirect_stderr(StringIO()),  # where submitit repeats what the error says
                _uninterrupted() if self._queue is None else nullcontext(),
            ):
                job = self._executor.submit(Job(self._folder, name, self._recordings))
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            if not self._running:
                raise ConfigError(
                    f"the job was not accepted: {_reason(error)}",
                    culprit="--slurm",
                    remedy="Correct --slurm KEY=VALUE, or try again when SLURM answers.",
                ) from error
            self._refused.append(name)
            self._refused_at = time.monotonic()
            return
        self._running[name] = job
        if self._queue is not None:
            self._queue.enter(name, job.job_id)

    def wait(self, seconds: float) -> Iterator[Done]:
        """Yield the runs whose jobs have ended."""
        time.sleep(seconds)
        if self._queue is not None:
            self._queue.look()
        for name, job in list(self._running.items()):
            if self._has_ended(name, job):
                failure = self._failure(name, job)
                del self._running[name]
                if self._queue is not None:
                    self._queue.leave(name)
                yield Done(name, failure)
        if self._refused and (not self._running or time.monotonic() - self._refused_at > _SECONDS_TO_RETRY):
            refused, self._refused = self._refused, []
            for name in refused:
                self.start(name)

    def stop(self) -> None:
        """Cancel the jobs. Those in progress save."""
        if self._queue is not None:
            self._queue.cancel(self._running)
            return
        _end_local(self._running.values())

    def _has_ended(self, name: str, job: Any) -> bool:  # noqa: ANN401  # submitit has no types
        if self._queue is None:
            return bool(job.done())
        with suppress(OSError):  # so that a shared disk shows what is new
            self._folder.jobs.chmod(self._folder.jobs.stat().st_mode)
        return job.paths.result_pickle.exists() or self._queue.has_left(name)

    def _failure(self, name: str, job: Any) -> str | None:  # noqa: ANN401  # as above
        if self._queue is not None and not job.paths.result_pickle.exists():
            if not self._folder.pending([name]):
                return None
            message = _ended(job, self._queue.state(name))
            self._folder.record_failure(name, message)
            return message
        error = job.exception()
        if error is None:
            result: str | None = job.result()
            return result
        message = f"its job {job.job_id} failed (see {self._folder.log(name)})"
        self._folder.record_failure(name, message, str(error))
        return message


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that ignore SIGINT: Ctrl-C in a terminal is for the command, which stops its jobs.

    A process of submitit that it reaches, too, would kill a run after a second, before that is saved.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_local(jobs: Collection[Any]) -> None:
    """End jobs of this machine by SIGTERM, which submitit passes on to the runs, and wait while they save."""
    for job in jobs:
        with suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)
    end = time.monotonic() + _SECONDS_TO_SAVE
    while time.monotonic() < end and not all(job.done() for job in jobs):
        time.sleep(_SECONDS_TO_LOOK)


def _executor(folder: AblationFolder, settings: ClusterSettings) -> Any:  # noqa: ANN401  # as above
    """Return what submits jobs.

    Raises:
        ConfigError: a parameter is of the wrong type, or this machine has no SLURM.
    """
    import submitit  # noqa: PLC0415  # an extra

    try:
        executor = submitit.AutoExecutor(
            folder.jobs, cluster=settings.kind, **{f"{settings.kind}_max_num_timeout": _ANY_NUMBER}
        )
        executor.update_parameters(**settings.of_submitit())
    except (AssertionError, NameError, TypeError, ValueError) as error:  # as submitit reports a parameter
        raise ConfigError(
            f"{error}",
            culprit="--slurm",
            remedy="Pass parameters of sbatch, such as --slurm partition=gpu --slurm time=60",
        ) from error
    except RuntimeError as error:
        raise ConfigError(
            f"this machine has no SLURM: {error}",
            culprit="--cluster",
            remedy="Start it where sbatch works, or rehearse with --cluster local.",
        ) from error
    return executor


def _ended(job: Any, state: str) -> str:  # noqa: ANN401  # as above
    """Return a message about a job that has left no result, whose last known state is `state`."""
    told = ""
    with suppress(OSError):
        told = job.paths.stderr.read_bytes()[-_MOST_TOLD:].decode(errors="replace")
    how = f" as {state}" if state else ""
    lack = ", perhaps for lack of memory (--slurm mem=8GB)" if _LACK.search(f"{told} {state}") else ""
    return f"its job {job.job_id} ended{how} before it was done{lack}; see {job.paths.stderr}"


def _reason(error: Exception) -> str:
    """Return what sbatch has said, in one line."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Try "))
