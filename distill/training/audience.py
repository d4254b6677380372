"""The recipients of what a training run reports."""

from collections.abc import Callable

from attrs import field, frozen

from distill.audio.progress import Progress
from distill.training.observing import Observer, Silent, TrainingWarning
from distill.training.record import About


@frozen(kw_only=True)
class Audience:
    """The recipients of reports: an observer, and a callback for progress before and after the training.

    `moved` is called at each sign of progress.
    """

    observer: Observer = field(factory=Silent)
    on_progress: Callable[[Progress], None] | None = None
    moved: Callable[[str], None] = field(default=lambda _: None)

    def warn(self, about: About, message: str) -> None:
        """Send a warning to the observer."""
        self.observer.warning(TrainingWarning(about=about, message=message))

    def decoded(self, done: int, total: int) -> None:
        """Report how many recordings are decoded."""
        self.moved(f"recording {done} of {total} was decoded")
        self._progress(Progress(stage="decoding", done=done, total=total))

    def finishing(self, progress: Progress) -> None:
        """Report the progress after the training."""
        stage = f"the stage '{progress.stage}' after the last step"
        self.moved(f"{progress.done} of {progress.total} of {stage}" if progress.done else f"{stage} began")
        self._progress(progress)

    def _progress(self, progress: Progress) -> None:
        if self.on_progress is not None:
            self.on_progress(progress)
