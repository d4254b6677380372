"""How the runs of an ablation are carried out: where, and how many at a time. Loads no torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from distill.ablation.cluster import Cluster, ClusterSettings
from distill.ablation.folder import AblationFolder
from distill.ablation.pools import Pool, Processes, ThisProcess
from distill.ablation.progress import Status, Watch
from distill.ablation.scheduling import train_all
from distill.arguments import optional_callable, whole_number

_MOST_JOBS = 1000


@frozen(kw_only=True)
class Execution:
    """How runs are carried out: up to `jobs` at a time, in this process, in several, or on a cluster."""

    jobs: int
    cluster: ClusterSettings | None
    report: Callable[[Status], None]

    @classmethod
    def of(
        cls,
        *,
        jobs: int,
        cluster: str | None,
        slurm: Mapping[str, Any] | None,
        on_progress: Callable[[Status], None] | None,
    ) -> "Execution":
        """Return the arguments of `ablate` as a value, after checking them.

        Raises:
            InputError: one is of another type, the kind of the cluster is unknown, `slurm` is given without
                a cluster, or submitit is not installed.
        """
        return cls(
            report=optional_callable(on_progress, culprit="on_progress") or (lambda _: None),
            jobs=whole_number(jobs, culprit="jobs", least=1, below=_MOST_JOBS + 1),
            cluster=ClusterSettings.of(cluster, slurm or {}),
        )

    def train(self, folder: AblationFolder, names: Sequence[str], on: str | None) -> Mapping[str, str]:
        """Train and measure those runs that are not, and return the messages of those that have failed.

        `on` is the recordings to measure, None for those that each run holds out.
        """
        waiting = folder.pending(names)
        done = [name for name in names if name not in waiting]
        watch = Watch(folder=folder, total=len(names), jobs=self.jobs, done=done)
        pool: Pool
        if self.cluster is not None:
            pool = Cluster(folder, on, self.jobs, self.cluster)
        elif self.jobs > 1:
            pool = Processes(folder, on, min(self.jobs, max(1, len(waiting))))
        else:
            pool = ThisProcess(folder, on, lambda: self.report(watch.status()))
        return train_all(waiting, pool, watch, self.report)
