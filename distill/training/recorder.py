"""Records of a training run on disk: `metrics.jsonl` for programs, event files for TensorBoard."""

import math
from collections.abc import Callable

import attrs

from distill.loss.components import weight_name
from distill.storage.run import Run
from distill.training.events import EventFile
from distill.training.trainer import Record


class Recorder:
    """Write the records of a training run to its run folder.

    `resumed_at` is the step at which a resumed run continues, None for a new run. Records of later steps are
    dropped, since these steps are repeated. `warn` is called if TensorBoard's events cannot be written.
    """

    def __init__(self, run: Run, *, resumed_at: int | None, warn: Callable[[str], None]) -> None:
        self.run = run
        if resumed_at is not None:
            run.forget_metrics_after(resumed_at)
        purge = None if resumed_at is None else resumed_at + 1
        self.events = EventFile(run.tensorboard, purge_step=purge, warn=warn)

    def write(self, record: Record) -> None:
        """Append a record to `metrics.jsonl` and to the event file, at once.

        Raises:
            RunError: `metrics.jsonl` cannot be written.
        """
        self.run.append_metrics([attrs.asdict(record)])
        scalars = {f"{record.split}/{name}": value for name, value in record.components.items()}
        if record.split == "train":
            scalars["speed/seconds_of_audio_per_second"] = record.audio_rate
            scalars |= {weight_name(name): value for name, value in record.weights.items()}
        finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
        self.events.add_scalars(record.step, finite)
