"""The runs of an ablation as jobs of a cluster, through submitit. Loads no torch."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

from distill.ablation.folder import AblationFolder
from distill.ablation.pools import Done
from distill.arguments import options_by_address
from distill.errors import ConfigError, InputError

_OWN = frozenset(
    {"timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name"}
)
"""Parameters that submitit has for every kind of cluster. The others are those of SLURM."""

_MINUTES = 24 * 60
"""The time limit of a job, unless the user gives one. A run that is cut off goes on with the same command."""


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
        given = dict(options_by_address(parameters, culprit="slurm"))
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
        named = {name if name in _OWN else f"slurm_{name}": value for name, value in given.items()}
        return cls(kind="slurm" if kind == "slurm" else "local", parameters=named)


class Cluster:
    """A pool of up to `jobs` jobs at a time in the queue of a cluster, whose machines share the folder."""

    def __init__(
        self, folder: AblationFolder, recordings: str | None, jobs: int, settings: ClusterSettings
    ) -> None:
        import submitit  # noqa: PLC0415  # an extra

        self._folder, self._recordings, self._jobs = folder, recordings, jobs
        self._running: dict[str, Any] = {}
        try:
            self._executor = submitit.AutoExecutor(folder.jobs, cluster=settings.kind)
            self._executor.update_parameters(
                **{"timeout_min": _MINUTES, "name": "distill", **settings.parameters}
            )
        except (
            AssertionError,
            NameError,
            TypeError,
            ValueError,
        ) as error:  # as submitit reports a wrong parameter
            raise ConfigError(
                f"{error}",
                culprit="--slurm",
                remedy="Give parameters of sbatch, such as --slurm partition=gpu --slurm time=60",
            ) from error
        except RuntimeError as error:
            raise ConfigError(
                f"this machine has no SLURM: {error}",
                culprit="--cluster",
                remedy="Start it where sbatch works, or rehearse with --cluster local.",
            ) from error

    @property
    def free(self) -> int:
        """The number of further jobs that can be submitted now."""
        return self._jobs - len(self._running)

    def start(self, name: str) -> None:
        """Submit a run."""
        from distill.ablation.worker import execute  # noqa: PLC0415  # which a job imports, too

        folder = AblationFolder(self._folder.path.resolve())
        job = self._executor.submit(execute, folder, name, self._recordings)
        self._running[name] = job

    def wait(self, seconds: float) -> Iterator[Done]:
        """Yield the runs whose jobs have ended."""
        time.sleep(seconds)
        for name, job in list(self._running.items()):
            if job.done():
                del self._running[name]
                yield Done(name, self._failure(name, job))

    def _failure(self, name: str, job: Any) -> str | None:  # noqa: ANN401  # submitit has no types
        error = job.exception()
        if error is None:
            result: str | None = job.result()
            return result
        message = f"the job {job.job_id} ended: {str(error).strip().splitlines()[-1]}"
        self._folder.record_failure(name, message, str(error))
        return message

    def stop(self) -> None:
        """Cancel the jobs. Those in progress save."""
        for job in self._running.values():
            job.cancel(check=False)
