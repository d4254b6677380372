"""The training loop.

Shapes: `B` clips in a batch, `N` samples.
"""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import Corpus
from distill.errors import RunError, TrainingError
from distill.loss.components import TOTAL, ComponentName
from distill.loss.composer import CombinedLoss
from distill.model import VAE
from distill.settings import TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import save_checkpoint, save_state
from distill.storage.run import Run
from distill.training.batches import clip_samples, draw_clips, draw_noise, predict
from distill.training.interruption import Interrupted, noting_signals
from distill.training.optimization import Optimization

_RISES_THAT_WARN = 5
_CLIPS_TO_EVALUATE = 16

T = TypeVar("T")


@frozen(kw_only=True)
class Record:
    """A line of `metrics.jsonl`.

    For the split `train`, components are means over the steps since the last record. For `heldout`, they are
    measured on the same clips each time, with the weights of the end of the training, so that they are
    comparable. `seconds` is the training time so far, `audio_rate` the seconds of audio trained on per
    second.
    """

    step: int
    split: str
    seconds: float
    components: dict[str, float]
    weights: dict[str, float]
    progress: float
    audio_rate: float


class Trainer:
    """Train a VAE on a corpus with a combined loss.

    `report` is called with each `Record`, `warn` with each warning. If they raise an exception, a checkpoint
    is saved and the training ends. Processes started by torchrun split a batch evenly, and their gradients
    are averaged.
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
    ) -> None:
        self.settings, self.accelerator, self.corpus, self.run = settings, accelerator, corpus, run
        self.report, self.warn = report, warn
        device = accelerator.device
        self.vae, self.representation, self.loss = (
            model.to(device),
            representation.to(device),
            loss.to(device),
        )
        self.clip_samples = clip_samples(settings, representation, model)
        self.clips = torch.Generator().manual_seed(settings.seed)
        self.noise = torch.Generator(device).manual_seed(settings.seed)
        self.optimization = Optimization(settings, accelerator, self.vae, self.loss)
        self.step, self.seconds, self.evaluations = 0, 0.0, 0
        self.heldout_totals: list[float] = []

    def train(self, state: dict[str, Any] | None = None) -> None:
        """Train for the number of steps or minutes in the settings, from a checkpoint's state if given.

        Raises:
            RunError: the state belongs to another model or loss.
            CorpusError: a shard cannot be read, or the state is from another number of processes.
            TrainingError: the loss is not finite. The state before that step is saved.
            Interrupted: SIGINT or SIGTERM was received. The state is saved.
        """
        if state is not None:
            self._restore(state)
        self.model = self.accelerator.prepare_model(self.vae)
        self._begin_window()
        started = time.monotonic() - self.seconds
        saved, interrupted = self.seconds, False
        with noting_signals() as signals:
            while self.progress < 1:
                self._take_step()
                window_ends = self.step % self.settings.log_every == 0
                if window_ends or self.accelerator.num_processes == 1:
                    self.seconds, interrupted = self._agreed(time.monotonic() - started, len(signals))
                if window_ends or interrupted or self.progress >= 1:
                    self._log()
                if self.progress * self.settings.evaluations >= self.evaluations + 1:
                    self._evaluate()
                if interrupted:
                    self.save()
                    raise Interrupted(self.run, self.step)
                if self.seconds - saved > 60 * self.settings.checkpoint_minutes:
                    saved = self.seconds
                    self.save()
        self.save()

    @property
    def progress(self) -> float:
        """The fraction of the training that is done, 0..1."""
        if self.settings.steps is not None:
            return min(1.0, self.step / self.settings.steps)
        return min(1.0, self.seconds / (60 * (self.settings.time_limit or math.inf)))

    def _take_step(self) -> None:
        """Train on one batch, without synchronizing with the device."""
        self.vae.train()
        self.loss.train()
        waveform = self._draw_clips()
        components = self._compute(self.model, waveform, self._draw_noise(), self.progress)
        norms = self.optimization.differentiate(components)
        self._add_to_window(components | norms)
        self.optimization.step(self.step, self.progress, self._bad)
        self.step += 1

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
        device = self.accelerator.device
        # Only copies from pinned memory to CUDA are asynchronous.
        clips = clips.pin_memory() if device.type == "cuda" else clips
        return clips.to(device, non_blocking=True)

    def _draw_noise(self) -> Tensor:
        clips = self.settings.batch_size
        return self._share(draw_noise(self.vae, self.representation, clips, self.clip_samples, self.noise))

    def _share(self, batch: Tensor) -> Tensor:
        return batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]

    def _begin_window(self) -> None:
        """Start a window of steps between two records, whose components are summed on the device."""
        self._names: list[str] = []
        self._sum = self._last = torch.zeros((), device=self.accelerator.device)
        self._bad = torch.zeros((), device=self.accelerator.device)
        self._window = self.step, time.monotonic()

    def _add_to_window(self, components: dict[str, Tensor]) -> None:
        names = list(components)
        if self._names not in ([], names):  # a term has started
            self._log()
        self._names = names
        values = torch.stack([value.detach().float() for value in components.values()])
        # From the first non-finite step on, its components are kept and optimizer steps are skipped.
        self._last = torch.where(self._bad > 0, self._last, values)
        decisive = [name for name in names if ComponentName.parse(name).is_decisive]
        finite = torch.stack([components[name] for name in decisive]).isfinite().all()
        self._bad = torch.maximum(self._bad, (~finite).float())
        if self.accelerator.num_processes > 1:  # a non-finite value in one process stops all
            self._bad = self.accelerator.reduce(self._bad, reduction="sum").clamp(max=1)
        self._sum = self._sum + values

    def _log(self) -> None:
        """Report the means since the last record. Only here does the host wait for the device."""
        first, began = self._window
        steps = self.step - first
        window = torch.cat([self._bad[None], self._sum / max(steps, 1), self._last])
        bad, *values = self.accelerator.reduce(window, reduction="mean").tolist()
        means = dict(zip(self._names, values[: len(self._names)], strict=True))
        if bad:
            self._stop_for(dict(zip(self._names, values[len(self._names) :], strict=True)), first)
        seconds_of_audio = (
            steps * self.settings.batch_size * self.clip_samples / self.representation.sample_rate
        )
        self._report("train", means, seconds_of_audio / (time.monotonic() - began))
        self._begin_window()

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

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Measure the loss on the same held-out clips each time, and warn if it keeps rising."""
        self.evaluations += 1
        if not self.corpus.heldout.recordings:
            return
        self.vae.eval()
        self.loss.eval()
        clips = torch.Generator().manual_seed(self.settings.seed)
        waveform = self.corpus.heldout.draw(_CLIPS_TO_EVALUATE, self.clip_samples, clips)
        waveform = waveform.to(self.accelerator.device)
        components = self._compute(self.vae, waveform, noise=None, progress=1.0)
        names, values = list(components), torch.stack(list(components.values()))
        means = dict(zip(names, values.tolist(), strict=True))
        self._report("heldout", means, 0.0)
        self.heldout_totals.append(means[TOTAL])
        last = self.heldout_totals[-_RISES_THAT_WARN - 1 :]
        if len(last) > _RISES_THAT_WARN and all(before < after for before, after in pairwise(last)):
            self._tell(
                self.warn,
                f"The held-out loss has risen {_RISES_THAT_WARN} evaluations in a row, from {last[0]:.4g} to "
                f"{last[-1]:.4g}: the model overfits its training recordings. Stop here, or add recordings.",
            )

    def _report(self, split: str, components: dict[str, float], audio_rate: float) -> None:
        if not self.accelerator.is_main_process:
            return
        parsed = {name: ComponentName.parse(name) for name in components}
        weights = {name.term: components[key] for key, name in parsed.items() if name.kind == "weight"}
        shown = {key: components[key] for key, name in parsed.items() if not name.is_weighting}
        record = Record(
            step=self.step,
            split=split,
            seconds=round(self.seconds, 3),
            components=shown,
            weights=weights,
            progress=self.progress,
            audio_rate=round(audio_rate, 3),
        )
        self._tell(self.report, record)

    def _tell(self, listener: Callable[[T], None], message: T) -> None:
        """Call a listener. If it raises an exception, save a checkpoint and raise the exception again."""
        try:
            listener(message)
        except BaseException:
            self.save()
            raise

    def save(self) -> None:
        """Save the model, and a checkpoint from which the training continues exactly."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "evaluations": self.evaluations,
            "heldout_totals": self.heldout_totals,
            "weights": self.loss.weights_at(1.0),
            "model": self.vae.state_dict(),
            "loss": self.loss.state_dict(),
            **self.optimization.state_dict(),
            "clips": self.clips.get_state(),
            "noise": self.noise.get_state(),
            "corpus": self.corpus.train.state_dict(),
        }
        save_checkpoint(self.run.checkpoints, self.step, state)
        save_state(self.run.model, self.vae.state_dict())

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.evaluations = state["evaluations"]
        # Totals are comparable only with equal weights.
        weights = self.loss.weights_at(1.0)
        self.heldout_totals = state["heldout_totals"] if state.get("weights", weights) == weights else []
        try:
            self.vae.load_state_dict(state["model"])
            self.loss.load_state_dict(state.get("loss", {}))
        except RuntimeError as error:
            raise RunError(
                "its checkpoint is of another model, or of another loss, than its recipe describes",
                culprit=str(self.run.folder),
                remedy="Restore recipe.toml as the training wrote it.",
            ) from error
        self.optimization.load_state_dict(state)
        self.clips.set_state(state["clips"])
        self.noise.set_state(state["noise"])
        self.corpus.train.load_state_dict(state.get("corpus", {}))

    def _agreed(self, seconds: float, signals: int) -> tuple[float, bool]:
        """Return the longest time of all processes, and whether any of them received a signal."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([[seconds, signals]], dtype=torch.float32, device=self.accelerator.device)
            seconds, signals = self.accelerator.gather(mine).amax(dim=0).tolist()
        return seconds, signals > 0
