"""The progress of an ablation: what its runs have done, read from their folders. Loads no torch."""

import time
from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from distill.ablation.folder import AblationFolder
from distill.storage.metrics import last_records


@frozen(kw_only=True)
class Running:
    """A run in progress: its step, the part of it that is done, and its held-out loss, None if unknown."""

    name: str
    step: int
    progress: float
    loss: float | None = None


@frozen(kw_only=True)
class Status:
    """The progress of an ablation.

    Attributes:
        total: the number of runs.
        done: the names of the runs that are trained and measured.
        failed: the messages of the runs that have failed, by name.
        running: the runs in progress.
        seconds_left: an estimate of the time that the rest takes, None if nothing is known yet.
        last: the name of the run that has just ended, empty if none has.
    """

    total: int
    done: tuple[str, ...]
    failed: Mapping[str, str]
    running: tuple[Running, ...]
    seconds_left: float | None
    last: str = ""


@define
class Watch:
    """The state of the runs of an ablation in progress."""

    folder: AblationFolder
    total: int
    jobs: int
    done: list[str] = field(factory=list)
    failed: dict[str, str] = field(factory=dict)
    _begun: dict[str, tuple[float, float]] = field(factory=dict)
    """The time at which a run began, and the part of it that was done then."""
    _spent: list[float] = field(factory=list)
    """The time that whole runs took."""

    def begin(self, name: str) -> None:
        """Record that a run begins."""
        self._begun[name] = (time.monotonic(), running(self.folder, name).progress)

    def end(self, name: str, failure: str | None) -> None:
        """Record that a run is done, or why it failed."""
        since, before = self._begun.pop(name, (time.monotonic(), 1.0))
        if failure is not None:
            self.failed[name] = failure
            return
        self.done.append(name)
        if before == 0:
            self._spent.append(time.monotonic() - since)

    def status(self, last: str = "") -> Status:
        """Return the progress now."""
        now = tuple(running(self.folder, name) for name in self._begun)
        return Status(
            total=self.total,
            done=tuple(self.done),
            failed=dict(self.failed),
            running=now,
            seconds_left=self._left(now),
            last=last,
        )

    def _left(self, now: Iterable[Running]) -> float | None:
        """Return the time left, from what whole runs or, before these, parts of runs have taken."""
        whole, parts = list(self._spent), {each.name: each.progress for each in now}
        if not whole:
            for name, progress in parts.items():
                since, before = self._begun[name]
                if progress - before > 0.02:
                    whole.append((time.monotonic() - since) / (progress - before))
        if not whole:
            return None
        waiting = self.total - len(self.done) - len(self.failed) - len(parts)
        rest = waiting + sum(1 - progress for progress in parts.values())
        return rest * sum(whole) / len(whole) / min(self.jobs, max(1, waiting + len(parts)))


def running(folder: AblationFolder, name: str) -> Running:
    """Return what a run has recorded."""
    records = last_records(folder.run(name).metrics)
    newest = max(records.values(), key=lambda record: record["step"], default={})
    components, progress = records.get("heldout", {}).get("components"), newest.get("progress")
    loss = components.get("total") if isinstance(components, dict) else None
    return Running(
        name=name,
        step=newest.get("step", 0),
        progress=float(progress) if isinstance(progress, int | float) and 0 <= progress <= 1 else 0.0,
        loss=loss if isinstance(loss, int | float) else None,
    )
