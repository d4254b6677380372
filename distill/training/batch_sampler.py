"""The random batches of a training run, and the state from which they are drawn.

Shapes: `B` clips in a batch, `N` samples, `D` numbers per latent frame, `T'` latent frames.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from distill.audio.corpus import Corpus
from distill.config.settings import TrainingSettings
from distill.model import VAE
from distill.spectral.representation import MagnitudeIF
from distill.training.augmentation import moved
from distill.training.batches import clip_samples, draw_clips, draw_noise
from distill.training.nonfinite import Before


class BatchSampler:
    """Draws clips and noise for the steps of a run: in each process of a group, its share of them."""

    def __init__(
        self,
        settings: TrainingSettings,
        accelerator: Accelerator,
        model: VAE,
        representation: MagnitudeIF,
        corpus: Corpus,
    ) -> None:
        self.settings, self.accelerator, self.corpus = settings, accelerator, corpus
        device = accelerator.device
        self.vae, self.representation = model.to(device), representation.to(device)
        self.clip_samples = clip_samples(settings, representation, model)
        self.clips = torch.Generator().manual_seed(settings.seed)
        # On the CPU, so that a run can go on with another device, and its noise is the same on each.
        self.noise = torch.Generator().manual_seed(settings.seed)

    def draw_clips(self) -> Tensor:
        """Draw the clips of a step that belong to this process: `[B, N]`."""
        rows = self._share(torch.arange(self.settings.batch_size)).tolist()
        return draw_clips(
            self.corpus.train,
            self.settings,
            self.clip_samples,
            self.clips,
            rows,
            device=self.accelerator.device,
        )

    def draw_noise(self) -> Tensor:
        """Draw the noise of a step that belongs to this process: `[B, D, T']`."""
        clips = self.settings.batch_size
        noise = draw_noise(self.vae, self.representation, clips, self.clip_samples, self.noise)
        return moved(self._share(noise), self.accelerator.device)

    def blank_batch(self) -> tuple[Tensor, Tensor]:
        """Return the spectrogram of silence `[B, 2, F, T]` and noise of zeros `[B, D, T']`, as in a step."""
        clips = self._share(torch.zeros(self.settings.batch_size, self.clip_samples))
        with torch.no_grad():
            spectrogram = self.representation(moved(clips, self.accelerator.device))
        latent_frames = self.vae.latent_frames(spectrogram.shape[-1])
        return spectrogram, spectrogram.new_zeros(len(clips), self.vae.latent_size, latent_frames)

    def _share(self, batch: Tensor) -> Tensor:
        return batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]

    @contextmanager
    def at(self, before: Before) -> Iterator[None]:
        """Draw the clips and the noise of a step in the context, and leave the run as it is."""
        now = self._drawn()
        self._restore_drawn(before.drawn())
        try:
            yield
        finally:
            self._restore_drawn(now)

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
