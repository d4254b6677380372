"""Records of a training run on disk: `metrics.jsonl` for programs, event files for TensorBoard."""

from types import TracebackType
from typing import Self

import attrs
from tensorboardX import SummaryWriter

from distill.loss.components import weight_name
from distill.storage.run import Run
from distill.training.trainer import Record


class Recorder:
    """Write the records of a training run to its run folder.

    `resumed_at` is the step at which a resumed run continues, None for a new run. Records of later steps are
    dropped, since these steps are repeated.
    """

    def __init__(self, run: Run, *, resumed_at: int | None) -> None:
        self.run = run
        if resumed_at is not None:
            run.forget_metrics_after(resumed_at)
        purge = None if resumed_at is None else resumed_at + 1
        self.events = SummaryWriter(str(run.tensorboard), purge_step=purge)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.events.close()

    def write(self, record: Record) -> None:
        """Append a record to `metrics.jsonl` and to the event file."""
        self.run.append_metrics([attrs.asdict(record)])
        for name, value in record.components.items():
            self.events.add_scalar(f"{record.split}/{name}", value, record.step)
        if record.split == "train":
            self.events.add_scalar("speed/seconds_of_audio_per_second", record.audio_rate, record.step)
            for name, value in record.weights.items():
                self.events.add_scalar(weight_name(name), value, record.step)
