"""The training loop.

Shapes: `B` clips in a batch, `N` samples.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import torch
from accelerate import Accelerator
from torch import Tensor

from distill.audio.corpus import Corpus
from distill.errors import DistillError, RunError, TrainingError
from distill.loss.components import TOTAL, ComponentName
from distill.loss.composer import CombinedLoss
from distill.model import VAE
from distill.settings import TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import save_best, save_checkpoint, save_state
from distill.storage.run import Run
from distill.training.batches import clip_samples, draw_clips, draw_noise, predict
from distill.training.heldout import HeldoutLosses
from distill.training.interruption import Interrupted, Signals
from distill.training.optimization import Optimization
from distill.training.record import Record
from distill.training.window import Window

_CLIPS_TO_EVALUATE = 16

T = TypeVar("T")


class Trainer:
    """Train a VAE on a corpus with a combined loss.

    `report` is called with each `Record`, `warn` with each warning. If they raise an exception, a checkpoint
    is saved and the training ends. Before anything is saved, `require_lock` is called, which raises an
    exception if another process has taken the run folder over. `made_with` is saved in each checkpoint.
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
        warn: Callable[[str], None],
        signals: Signals | None = None,
        require_lock: Callable[[], None] = lambda: None,
        made_with: Mapping[str, Any] | None = None,
    ) -> None:
        self.require_lock = require_lock
        self.settings, self.accelerator, self.corpus, self.run = settings, accelerator, corpus, run
        self.report, self.warn, self.made_with = report, warn, made_with or {}
        self.signals = signals or Signals()
        device = accelerator.device
        self.vae, self.representation, self.loss = (
            model.to(device),
            representation.to(device),
            loss.to(device),
        )
        self.clip_samples = clip_samples(settings, representation, model)
        self.clips = torch.Generator().manual_seed(settings.seed)
        # On the CPU, so that a run can go on with another device, and its noise is the same on each.
        self.noise = torch.Generator().manual_seed(settings.seed)
        self.optimization = Optimization(settings, accelerator, self.vae, self.loss)
        self.step, self.seconds, self.evaluations = 0, 0.0, 0
        self.heldout = HeldoutLosses()
        self._window = Window(0, 0.0, device)
        self._unsaved: list[dict[str, Any]] = []  # the records since the last checkpoint

    def train(self, state: dict[str, Any] | None = None) -> None:
        """Train for the number of steps or minutes in the settings, from a checkpoint's state if given.

        Raises:
            RunError: the state belongs to another model or loss.
            CorpusError: a shard cannot be read, or the state is from another number of processes.
            TrainingError: the loss is not finite. The state before that step is saved.
            Interrupted: SIGINT, SIGTERM or SIGHUP was received. The state is saved.
            Stopped: one of them was received after the last step. The state is saved.
        """
        if state is not None:
            self._restore(state)
        self.model = self.accelerator.prepare_model(self.vae)
        self._started = time.monotonic() - self.seconds
        saved, interrupted = self.seconds, False
        with self.signals.noting():
            if state is not None:
                self._catch_up(evaluation_due=state.get("evaluation_due", False))
            while self.progress < 1:
                self._take_step()
                window_ends = self.step % self.settings.log_every == 0
                if window_ends or self.accelerator.num_processes == 1:
                    self.seconds, interrupted = self._agreed(self._elapsed, self.signals.received)
                if window_ends or self.progress >= 1:
                    self._log(self._next_window())
                if self._evaluation_is_due:
                    self._evaluate()
                if interrupted:
                    self.save()
                    raise Interrupted(self.run, self.step)
                if self.seconds - saved > 60 * self.settings.checkpoint_minutes:
                    saved = self.seconds
                    self.save()
            self.save()

    @property
    def _elapsed(self) -> float:
        """The training time until now, in seconds. That of a resumed run includes the time before."""
        return time.monotonic() - self._started

    @property
    def _evaluation_is_due(self) -> bool:
        return self.progress * self.settings.evaluations >= self.evaluations + 1

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

    def _take_step(self) -> None:
        """Train on one batch, without synchronizing with the device."""
        drawn = self._drawn()
        try:
            components = self._differentiate()
        except Exception as error:  # of a term or a shard; the model has not changed
            self._restore_drawn(drawn)
            self._save_after(error)
            raise
        ended = None if self._window.fits(components) else self._next_window(self._window.bad)
        self._add_to_window(components)
        self.optimization.step(self.step, self.progress, self._window.bad)
        self.step += 1
        if ended is not None:  # logged after the step, since a listener that raises saves a checkpoint
            self._log(ended)

    def _differentiate(self) -> dict[str, Tensor]:
        """Draw a batch and compute its gradients; return the components of the loss and the norms."""
        self.vae.train()
        self.loss.train()
        waveform = self._draw_clips()
        components = self._compute(self.model, waveform, self._draw_noise(), self.progress)
        return components | self.optimization.differentiate(components)

    def _compute(
        self, model: torch.nn.Module, waveform: Tensor, noise: Tensor | None, progress: float
    ) -> dict[str, Tensor]:
        """Reconstruct waveforms `[B, N]` and return the components of the loss."""
        iterations = self.settings.griffin_lim_iterations
        inputs = predict(
            model, self.representation, waveform, noise, iterations=iterations, progress=progress
        )
        return self.loss(inputs)

    def _draw_clips(self) -> Tensor:
        """Draw the clips of a step that belong to this process: `[B, N]`."""
        rows = self._share(torch.arange(self.settings.batch_size)).tolist()
        clips = draw_clips(self.corpus.train, self.settings, self.clip_samples, self.clips, rows)
        return self._moved(clips)

    def _draw_noise(self) -> Tensor:
        clips = self.settings.batch_size
        noise = draw_noise(self.vae, self.representation, clips, self.clip_samples, self.noise)
        return self._moved(self._share(noise))

    def _moved(self, batch: Tensor) -> Tensor:
        device = self.accelerator.device
        # Only copies from pinned memory to CUDA are asynchronous.
        batch = batch.pin_memory() if device.type == "cuda" else batch
        return batch.to(device, non_blocking=True)

    def _share(self, batch: Tensor) -> Tensor:
        return batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]

    def _next_window(self, bad: Tensor | None = None) -> Window:
        """Begin another window of steps between two records, and return the one that ends."""
        ended, device = self._window, self.accelerator.device
        self._window = Window(self.step, self._elapsed, device, bad)
        return ended

    def _add_to_window(self, components: dict[str, Tensor]) -> None:
        """Add a step to the window. From the first non-finite step on, optimizer steps are skipped."""
        bad = (~self._window.is_finite(components)).float()
        if self.accelerator.num_processes > 1:  # a non-finite value in one process stops all
            bad = self.accelerator.reduce(bad, reduction="sum")
        self._window.add(components, bad)

    def _log(self, window: Window) -> None:
        """Report the means of a window. Only here does the host wait for the device."""
        reduced = self.accelerator.reduce(window.packed(), reduction="mean")
        bad, means, last = window.unpack(reduced.tolist())
        if bad:
            self._next_window()  # a run that goes on with other weights begins a new window
            self._stop_for(last, window.first)
        clips = window.steps * self.settings.batch_size
        seconds_of_audio = clips * self.clip_samples / self.representation.sample_rate
        seconds = max(self._elapsed - window.seconds, 1e-6)
        self._report(self._record("train", means, step=window.end, audio_rate=seconds_of_audio / seconds))

    def _stop_for(self, components: dict[str, float], window: int) -> None:
        self.save()
        culprits = [
            f"{name}{self._origin(name)} is {value}"
            for name, value in components.items()
            if name != TOTAL and not math.isfinite(value) and not ComponentName.parse(name).is_weighting
        ]
        raise TrainingError(
            f"the loss is not finite: {', '.join(culprits) or 'total'}",
            culprit=f"steps {window + 1}..{self.step}",
            remedy="The model is saved as it was before that step. Lower training.learning_rate or the "
            "weight of that term, and go on with --resume.",
        )

    def _origin(self, component: str) -> str:
        """Return the distribution that provides a component's term, in parentheses, or an empty string."""
        term = ComponentName.parse(component).term
        return f" ({self.loss.origins[term].origin})" if term in self.loss.origins else ""

    def _evaluate(self) -> None:
        """Measure the loss on the same held-out clips each time, and warn if it keeps rising."""
        means = {}
        if self.corpus.heldout.recordings:
            try:
                means = self._measure()
            except Exception as error:
                self._save_after(error)
                raise
        self.evaluations += 1
        if not means:
            return
        record = self._record("heldout", means, step=self.step, audio_rate=0.0)
        if self.heldout.add(means[TOTAL], self.step):
            self._save_best(record)
        self._report(record)
        warning = self.heldout.warning(self.run.folder)
        if warning is not None:
            self._tell(self.warn, warning)

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        """Return the components of the loss on held-out clips."""
        self.vae.eval()
        self.loss.eval()
        clips = torch.Generator().manual_seed(self.settings.seed)
        waveform = self.corpus.heldout.draw(_CLIPS_TO_EVALUATE, self.clip_samples, clips)
        waveform = waveform.to(self.accelerator.device)
        components = self._compute(self.vae, waveform, noise=None, progress=1.0)
        values = torch.stack(list(components.values())).tolist()
        return dict(zip(components, values, strict=True))

    def _record(self, split: str, components: dict[str, float], *, step: int, audio_rate: float) -> Record:
        parsed = {name: ComponentName.parse(name) for name in components}
        return Record(
            step=step,
            split=split,
            seconds=round(self.seconds, 3),
            components={key: components[key] for key, name in parsed.items() if not name.is_weighting},
            weights={name.term: components[key] for key, name in parsed.items() if name.kind == "weight"},
            progress=self._progress_at(step),
            audio_rate=round(audio_rate, 3),
        )

    def _report(self, record: Record) -> None:
        if self.accelerator.is_main_process:
            self._unsaved.append(attrs.asdict(record))
            self._tell(self.report, record)

    def _tell(self, listener: Callable[[T], None], message: T) -> None:
        """Call a listener. If it raises an exception, save a checkpoint and raise the exception again."""
        try:
            listener(message)
        except BaseException as error:
            self._save_after(error)
            raise

    def _save_after(self, error: BaseException) -> None:
        """Save a checkpoint after an error that ends the training. If that fails, too, the error says so."""
        try:
            self.save()
        except RunError as another:
            problem = f"The state of step {self.step} could not be saved either: {another.problem}."
            error.add_note(problem)
            if isinstance(error, DistillError):
                error.remedy = f"{error.remedy}\n{problem}"

    def save(self) -> None:
        """Save the model, and a checkpoint from which the training continues exactly."""
        if not self.accelerator.is_main_process:
            return
        self.require_lock()
        keep = self.settings.checkpoints
        save_checkpoint(self.run.checkpoints, self.step, self.state_dict(), keep=keep)
        self._unsaved.clear()
        save_state(self.run.model, self.vae.state_dict())

    def _save_best(self, record: Record) -> None:
        """Save the best checkpoint so far, which counts its measurement as reported."""
        if self.accelerator.is_main_process:
            self.require_lock()
            state = self.state_dict()
            records = [*state["records"], attrs.asdict(record)]
            save_best(self.run.checkpoints, self.step, state | {"records": records})

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

    def _drawn(self) -> dict[str, Any]:
        """Return the state of what random batches are drawn from."""
        return {
            "clips": self.clips.get_state(),
            "noise": self.noise.get_state(),
            "corpus": self.corpus.train.state_dict(),
        }

    def _restore_drawn(self, state: Mapping[str, Any]) -> None:
        self.clips.set_state(state["clips"])
        self.noise.set_state(state["noise"])
        self.corpus.train.load_state_dict(state.get("corpus", {}))

    def _agreed(self, seconds: float, received: bool) -> tuple[float, bool]:  # noqa: FBT001  # of a pair
        """Return the longest time of all processes, and whether any of them received a signal."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[seconds, received]], dtype=torch.float32, device=self.accelerator.device)
            seconds, received = self.accelerator.gather(mine).amax(dim=0).tolist()
        return seconds, bool(received)
