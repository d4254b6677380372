"""The training loop.

Shapes: `B` clips in a batch, `N` samples.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, TypeVar

import attrs
import torch
from accelerate import Accelerator
from torch import Tensor

from distill.audio.corpus import Corpus
from distill.config.settings import TrainingSettings
from distill.errors import DistillError, LockError, RunError
from distill.loss.components import TOTAL
from distill.loss.composer import CombinedLoss
from distill.model import VAE
from distill.model.loading import save_model
from distill.plugin.foreign import undisturbed
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import save_best, save_checkpoint
from distill.storage.run import Run
from distill.system.stopping import is_stop
from distill.training.batch_sampler import BatchSampler
from distill.training.batches import predict
from distill.training.devices import without_launcher_environment
from distill.training.failure import break_off, require_finite_weights, skipped_in_words, stop_for
from distill.training.graphs import Model, can_replay, recorded
from distill.training.health import Health
from distill.training.heldout import HeldoutLosses
from distill.training.heldout_clips import HeldoutClips
from distill.training.interruption import Interrupted, Signals, Stopped
from distill.training.nonfinite import Before, Buffers, Watch, is_finite
from distill.training.optimization import Optimization
from distill.training.record import About, Record
from distill.training.term_gradients import Measured, TermGradients
from distill.training.window import Window
from distill.views import LossInputs

T = TypeVar("T")


class Trainer(BatchSampler):
    """Train a VAE on a corpus with a combined loss.

    `report` is called with each `Record`, `warn` with each warning. If they raise an exception, a checkpoint
    is saved and the training ends. Before anything is saved, `require_lock` is called, which raises an
    exception if another process has taken the run folder over. `made_with` is saved in each checkpoint.
    `moved` is called after each step.
    Processes started by torchrun split a batch evenly, and their gradients are averaged.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        accelerator: Accelerator,
        *,
        model: VAE,
        representation: MagnitudeIF,
        loss: CombinedLoss,
        corpus: Corpus,
        run: Run,
        report: Callable[[Record], None],
        warn: Callable[[About, str], None],
        signals: Signals | None = None,
        require_lock: Callable[[], None] = lambda: None,
        made_with: Mapping[str, Any] | None = None,
        moved: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.require_lock, self.moved = require_lock, moved
        super().__init__(settings, accelerator, model, representation, corpus)
        self.run, self.report, self.warn, self.made_with = run, report, warn, made_with or {}
        self.signals = signals or Signals()
        device = accelerator.device
        self.loss = loss.to(device)
        self.optimization = Optimization(settings, accelerator, self.vae, self.loss)
        self.step, self.seconds, self.evaluations = 0, 0.0, 0
        self.heldout = HeldoutLosses()
        self.heldout_clips = HeldoutClips(corpus.heldout, self.clip_samples, settings.seed, device)
        self.before: Before | None = None  # of the step under way
        self._watch = Watch(settings, device)
        self._buffers = Buffers(self.vae, self.loss)
        self.health = Health(self.loss, corpus, self._warn)
        self.gradients = TermGradients(self.loss, self.vae, settings.gradient_every, self._warn)
        self._window = Window(0, 0.0, device)
        self._unsaved: list[dict[str, Any]] = []  # the records since the last checkpoint
        self._replayed: Model | None = None  # the model's CUDA graphs, if it has any
        self._evaluated_at = -1  # the step of the last evaluation

    def train(self, state: dict[str, Any] | None = None) -> None:
        """Train for the number of steps or minutes in the settings, from a checkpoint's state if given.

        Raises:
            RunError: the state belongs to another model or loss.
            CorpusError: a shard cannot be read, or the state is from another number of processes.
            TrainingError: the loss or the weights are not finite. The state before that step is saved if its
                weights are sound, and the batch is kept.
            TermError: a term raised an error. The state before that step is saved, and the batch kept.
            Interrupted: SIGINT, SIGTERM or SIGHUP was received. The state is saved.
            Stopped: one of them was received after the last step. The state is saved.
        """
        if state is not None:
            self._restore(state)
        # Anew: the first step may be rewound, to the model as it was initialized or restored before it.
        self._buffers = Buffers(self.vae, self.loss)
        self._prepare_model()
        self._started = time.monotonic() - self.seconds
        saved, interrupted = self.seconds, False
        with self.signals.noting():
            if state is not None:
                self._catch_up(evaluation_due=state.get("evaluation_due", False))
            while self.progress < 1:
                self._try_step()
                window_ends = self.step % self.settings.log_every == 0
                if window_ends or self.accelerator.num_processes == 1:
                    self.seconds, interrupted = self._agreed(self._elapsed, self.signals.received)
                if window_ends or self.progress >= 1:
                    self._log(self._next_window())
                elif self._watch.is_full:
                    self.look()
                if self._evaluation_is_due and not interrupted:  # else it is made when the run is resumed
                    self._evaluate()
                if interrupted:
                    self._end_interrupted()
                if self.seconds - saved > 60 * self.settings.checkpoint_minutes:
                    saved = self.seconds
                    self.save()
        self.save()

    def _prepare_model(self) -> None:
        with without_launcher_environment():
            self.model = self.accelerator.prepare_model(self.vae)
        if self.settings.cuda_graphs and can_replay(self.accelerator):
            self._replayed = recorded(self.model.train(), *self.blank_batch())

    @property
    def _elapsed(self) -> float:
        """The training time until now, in seconds. For a resumed run, it includes the time before."""
        return time.monotonic() - self._started

    @property
    def _evaluation_is_due(self) -> bool:  # once for each step in runs with fewer steps than evaluations
        due = self.progress * self.settings.evaluations >= self.evaluations + 1
        return due and self._evaluated_at < self.step

    @property
    def progress(self) -> float:
        """The fraction of the training that is done, 0..1."""
        return self._progress_at(self.step)

    def _progress_at(self, step: int) -> float:
        if self.settings.steps is not None:
            return min(1.0, step / self.settings.steps)
        return min(1.0, self.seconds / (60 * (self.settings.time_limit or math.inf)))

    def _catch_up(self, *, evaluation_due: bool) -> None:
        """Report what a listener that raised an exception, and so saved a checkpoint, has prevented."""
        if self._window.steps and self.step % self.settings.log_every == 0:
            self._log(self._next_window())
        if evaluation_due:
            self._evaluate()

    def _try_step(self) -> None:
        try:
            with undisturbed():  # by the backward pass of a term
                self._take_step()
        except Stopped:
            self._end_interrupted()
        # A term that calls sys.exit(0), in its backward pass, too, must not end the run as if it were done.
        except BaseException as error:
            if is_stop(error):
                raise
            break_off(self, error)

    def _take_step(self) -> None:
        """Train on one batch, without synchronizing with the device."""
        self.vae.train()
        self.loss.train()
        self.before = Before(step=self.step, progress=self.progress, **self._drawn())
        with self._cuttable():
            # A replayed pass can be differentiated once.
            once = not self.gradients.are_due(self.step) and not self.health.measures
            model = self._replayed if once and self._replayed else self.model
            inputs = self._predict(model, self.draw_clips(), self.draw_noise(), self.progress)
            components, gradients = self.gradients.components(inputs, self.step, self.health)
            components = components | self.optimization.differentiate(components)
        ended = None if self._window.fits(components) else self._next_window()
        skipped = self._note(self.before, components, gradients)
        self._buffers.settle(skipped)
        self.optimization.step(self.step, self.progress, skipped)
        self.step += 1
        self.before = None
        self.moved(f"step {self.step} ended")
        if ended is not None:  # logged after the step, since a listener that raises saves a checkpoint
            self._log(ended)

    def _cuttable(self) -> AbstractContextManager[None]:
        """Return a context that a signal cuts short, unless other processes would wait for this one."""
        return self.signals.cuttable() if self.accelerator.num_processes == 1 else nullcontext()

    def _end_interrupted(self) -> NoReturn:
        """Save the state, without the step that was cut short, if one was."""
        if self.before is not None:
            self.rewind(self.before)
        self.save()
        raise Interrupted(self.run, self.step)

    def _predict(self, model: Model, waveform: Tensor, noise: Tensor | None, progress: float) -> LossInputs:
        """Reconstruct waveforms `[B, N]` and return the inputs of the loss."""
        iterations = self.settings.griffin_lim_iterations
        return predict(model, self.representation, waveform, noise, iterations=iterations, progress=progress)

    def _compute(self, waveform: Tensor) -> dict[str, Tensor]:
        """Return the components of the loss of held-out clips `[B, N]`."""
        components: dict[str, Tensor] = self.loss(self._predict(self.vae, waveform, None, 1.0))
        return components

    def _next_window(self) -> Window:
        """Begin another window of steps between two records, and return the one that ends."""
        ended, device = self._window, self.accelerator.device
        self._window = Window(self.step, self._elapsed, device)
        return ended

    def _note(self, before: Before, components: dict[str, Tensor], gradients: Measured | None) -> Tensor:
        """Note the components of a step, and return 1 on the device if the optimizers have to skip it."""
        bad = (~is_finite(components)).float()
        if self.accelerator.num_processes > 1:  # a non-finite value in one process counts for all
            bad = self.accelerator.reduce(bad, reduction="sum").clamp(max=1)
        skipped = self._watch.add(before, components, bad)
        rate = self.optimization.learning_rate(before.step, before.progress)
        self._window.add(components, skipped, gradients, rate)
        return skipped

    def look(self) -> None:
        """Look at the steps since the last look, and warn of skipped ones. The host waits for the device.

        Raises:
            TrainingError: a step was not finite, and may not be skipped.
        """
        for found in self._watch.look():
            if found.stops:
                stop_for(self, found)
            if self._watch.is_told(found):
                self._warn("nonfinite", skipped_in_words(self, found))

    def _log(self, window: Window) -> None:
        """Report the means of a window. The host waits for the device."""
        self.look()
        means = self.accelerator.reduce(window.means(), reduction="mean").tolist()
        components = dict(zip(window.names, means, strict=True))
        clips = window.steps * self.settings.batch_size
        seconds_of_audio = clips * self.clip_samples / self.representation.sample_rate
        rate = seconds_of_audio / max(self._elapsed - window.seconds, 1e-6)
        more = window.more(self.accelerator) | {"audio_rate": rate}
        self._report(self._record("train", components, window.end, **more))
        self.health.recorded(components, self.progress)

    def _evaluate(self) -> None:
        """Measure the held-out loss, and warn if it keeps rising."""
        self.look()
        self.vae.eval()
        self.loss.eval()
        try:
            with self._cuttable():
                means = self.heldout_clips.measure(self._compute)
        except Stopped:
            self._end_interrupted()
        except Exception as error:
            self.save_after(error)
            raise
        self.evaluations += 1
        self._evaluated_at = self.step
        self.health.evaluated(self.evaluations)
        if not means:
            return
        if self.heldout_clips.problem:
            require_finite_weights(self)
            self._warn("nonfinite", self.heldout_clips.problem)
        record = self._record("heldout", means, self.step, audio_rate=0.0)
        if math.isfinite(means[TOTAL]) and self.heldout.add(means[TOTAL], self.step):
            self._save_best(record)
        self._report(record)
        if warning := self.heldout.warning(self.run.folder):
            self._warn("overfitting", warning)

    def _record(self, split: str, components: dict[str, float], step: int, **more: Any) -> Record:  # noqa: ANN401  # fields
        at = {"step": step, "split": split, "seconds": self.seconds, "progress": self._progress_at(step)}
        return Record.of(components, **at, **more)

    def _report(self, record: Record) -> None:
        if self.accelerator.is_main_process:
            self._unsaved.append(attrs.asdict(record))
            self._tell(self.report, record)

    def _warn(self, about: About, message: str) -> None:
        self._tell(lambda said: self.warn(about, said), message)

    def _tell(self, listener: Callable[[T], None], message: T) -> None:
        """Call a listener. If it raises an exception, save a checkpoint and raise the exception again."""
        try:
            listener(message)
        except BaseException as error:
            self.save_after(error)
            raise

    def save_after(self, error: BaseException) -> None:
        """Save a checkpoint after an error that ends the training. If that fails, too, the error says so.

        A run folder that another process has taken over is left alone.
        """
        if isinstance(error, LockError):
            return
        try:
            self.save()
        except RunError as another:
            problem = f"The state of step {self.step} could not be saved either: {another.problem}."
            error.add_note(problem)
            if isinstance(error, DistillError):
                error.remedy = f"{error.remedy}\n{problem}"

    def save(self) -> None:
        """Save the model, and a checkpoint from which the training continues exactly.

        Raises:
            TrainingError: the loss or the weights are not finite. Nothing is written over what is there.
        """
        self.look()
        require_finite_weights(self)
        if not self.accelerator.is_main_process:
            return
        self.require_lock()
        keep = self.settings.checkpoints
        save_checkpoint(self.run.checkpoints, self.step, self.state_dict(), keep=keep)
        self._unsaved.clear()
        save_model(self.run, self.vae, self.made_with.get("recipe", {}))

    def _save_best(self, record: Record) -> None:
        """Save the best checkpoint so far, which counts its measurement as reported."""
        if self.accelerator.is_main_process:
            self.require_lock()
            state = self.state_dict()
            records = [*state["records"], attrs.asdict(record)]
            save_best(self.run.checkpoints, self.step, state | {"records": records})

    def rewind(self, before: Before) -> None:
        """Go back to the state before a step, from which on no optimizer has taken a step."""
        self.step = before.step
        self._restore_drawn(before.drawn())
        self._window.rewind(before.step)
        self._buffers.settle(torch.ones((), device=self.accelerator.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a checkpoint, from which the training continues exactly.

        `records` are those since the last checkpoint, in case their lines are lost.
        """
        return {
            "step": self.step,
            "seconds": self.seconds,
            "evaluations": self.evaluations,
            "evaluation_due": self._evaluation_is_due,
            **self.heldout.state_dict(),
            "weights": self.loss.weights_at(1.0),
            "model": self.vae.state_dict(),
            "loss": self.loss.state_dict(),
            **self.optimization.state_dict(),
            **self._drawn(),
            "window": self._window.state_dict(),
            "records": list(self._unsaved),
            "made_with": self.made_with,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            self.vae.load_state_dict(state["model"])
            self.loss.load_state_dict(state.get("loss", {}))
        except RuntimeError as error:
            raise RunError(
                "its checkpoint is of another model, or of another loss, than its recipe describes",
                culprit=str(self.run.folder),
                remedy="Restore recipe.toml as the training wrote it.",
            ) from error
        try:
            self._restore_progress(state)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RunError(
                f"its checkpoint of step {state['step']} does not hold the whole state of a training run",
                culprit=str(self.run.folder),
                remedy="Restore it from a copy, or train again.",
            ) from error

    def _restore_progress(self, state: Mapping[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.evaluations = state["evaluations"]
        # Totals are comparable only with equal weights.
        weights = self.loss.weights_at(1.0)
        if state.get("weights", weights) == weights:
            self.heldout.load_state_dict(state)
        self.optimization.load_state_dict(state)
        self._restore_drawn(state)
        device = self.accelerator.device
        # Distill 0.2.0 saved no window.
        saved = state.get("window")
        self._window = Window.restored(saved, device) if saved else Window(self.step, self.seconds, device)

    def _agreed(self, seconds: float, received: bool) -> tuple[float, bool]:  # noqa: FBT001  # of a pair
        """Return the longest time of all processes, and whether any of them received a signal."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[seconds, received]], dtype=torch.float32, device=self.accelerator.device)
            seconds, received = self.accelerator.gather(mine).amax(dim=0).tolist()
        return seconds, bool(received)
