"""Train the base model from which `distill train` starts, and write it to the package.

Run: python benchmarks/base.py [--hours H] [--minutes M] [--recordings ../shared/audio/train]
     [--out runs/base] [--device cpu] [--batch 8] [--compile MODE] [--write]

The training data are H hours of audio: sounds made by `benchmarks/synthetic`, and a folder of recordings. The
training continues from the checkpoint in `--out`, if there is one, up to a total of H hours, and the learning
rate falls over the last quarter of these. `--minutes` ends it earlier, with a checkpoint; without `--hours`,
the learning rate falls over the last quarter of the minutes. `--write` writes the averaged weights and the
statistics of the code to `distill/base`.

A batch of 8 clips does not keep a GPU busy; use `--batch 64`. Schedules depend on the amount of audio, not on
the batch size. On a CPU, a training run that is resumed with the same options equals an uninterrupted one.
"""

import math
import time
from itertools import chain
from pathlib import Path
from typing import ClassVar

import click
import torch
from base_sounds import RATE, Sounds
from torch import Tensor, nn
from torch.nn import functional as F

from distill.base import write_base, write_codes
from distill.config.settings import MOST_JOINT_FRAMES, ModelSettings, RepresentationSettings
from distill.model import VAE
from distill.model.axes import CodeStatistics
from distill.model.initialization import code_statistics, windows
from distill.model.spread import audible_error, negative_log_likelihood
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state

CLIP_FRAMES = 64
BATCH = 8
RATE_MAX, WARMUP, FALL = 2e-3, 200, 0.25
AVERAGE = 0.999
"""Warm-up and decay of the averages are given for steps of 8 clips."""

SAVE_SECONDS = 60
LOG_STEPS = 100

AUDIBLE = 1e-4
"""Added to amplitudes, relative to the RMS or peak of a clip, before roots and logarithms."""


class Objective:
    """The loss of the base model, as named parts of a weighted sum.

    Bins are weighted according to the frequency resolution of hearing: by the square root of the density of
    equivalent rectangular bandwidths (Glasberg and Moore, 1990).
    """

    WEIGHTS: ClassVar = {
        "distance": 0.5,
        "likelihood": 0.5,
        "loud": 2.0,
        "energy": 0.2,
        "frequency": 0.3,
        "kl": 5e-6,
    }

    def __init__(self, representation: MagnitudeIF, device: torch.device) -> None:
        self.floor = representation.floor
        hertz = torch.arange(representation.bins - 1) * representation.sample_rate / representation.n_fft
        density = (1 + 0.00437 * hertz) ** -0.5
        self.weights = (density / density.mean()).to(device)[:, None]

    def __call__(self, vae: VAE, spectrogram: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the parts for a batch of spectrograms `[B, 2, F, T]`."""
        mu, logvar = vae.encode(spectrogram)
        decoded = vae.decode_whole(mu + noise * torch.exp(0.5 * logvar))
        bins, frames = self.weights.shape[0], spectrogram.shape[-1]
        log_magnitude, frequency, spread = (
            each[:, :bins, :frames]
            for each in (decoded.log_magnitude, decoded.frequency, vae.spread_of(decoded.features))
        )
        target = self._amplitude(spectrogram[:, 0, :bins])
        prediction = self._amplitude(log_magnitude)
        error = audible_error(prediction, target, self.floor)
        likelihood = negative_log_likelihood(error, spread)
        rms = target.square().mean((1, 2), keepdim=True).sqrt() + self.floor
        # Square roots emphasize loud bins, but less than amplitudes would.
        roots = [(amplitude / rms + AUDIBLE).sqrt() for amplitude in (prediction, target)]
        loud = (roots[0] - roots[1]).abs().mean() / roots[1].mean()
        peak = target.amax((1, 2), keepdim=True) + self.floor
        energies = [self._pooled(amplitude / peak) for amplitude in (prediction, target)]
        turn = frequency - spectrogram[:, 1, :bins]
        turn = (turn - 2 * torch.round(turn / 2)).abs()
        weight = target.sqrt()
        divergence = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
        return {
            "distance": (self.weights * error).mean(),
            "likelihood": (self.weights * likelihood).mean(),
            "loud": loud,
            "energy": (energies[0] - energies[1]).abs().mean(),
            "frequency": (weight * turn).mean() / (weight.mean() + self.floor),
            "kl": divergence.sum((1, 2)).mean() * RATE / (CLIP_FRAMES * 512),
        }

    def _amplitude(self, log_magnitude: Tensor) -> Tensor:
        return self.floor * torch.expm1(log_magnitude.clamp(max=15.5))

    def _pooled(self, amplitude: Tensor) -> Tensor:
        return torch.log(F.avg_pool2d(amplitude.square()[:, None], (8, 4), (8, 4)) + AUDIBLE**2)


@click.command()
@click.option("--hours", type=float, help="Hours of audio to train on, in all.")
@click.option("--minutes", type=float, help="Stop, with a checkpoint, after so many minutes of the clock.")
@click.option("--recordings", type=click.Path(path_type=Path), default=Path("../shared/audio/train"))
@click.option("--share", default=0.25, show_default=True, help="Share of the clips that are of recordings.")
@click.option("--slots", default=1500, show_default=True, help="Synthetic sounds in the pool at a time.")
@click.option("--fresh", default=1, show_default=True, help="Sounds of the pool replaced at every step.")
@click.option("--workers", type=int, help="Processes that make sounds; three quarters of torch's threads.")
@click.option("--batch", default=BATCH, show_default=True, help="Clips in a step.")
@click.option(
    "--compile",
    "mode",
    type=click.Choice(["default", "reduce-overhead"]),
    help="Compile the model and the objective, with torch.compile in this mode.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/base"), show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--write", is_flag=True, help="Put the model into distill/base.")
def main(
    *, hours: float | None, minutes: float | None, recordings: Path, share: float, slots: int, fresh: int,
    workers: int | None, batch: int, mode: str | None, out: Path, device: str, write: bool,
) -> None:  # fmt: skip
    """Train, or continue, and write `model.safetensors` and a checkpoint."""
    if hours is None and minutes is None:
        raise click.UsageError("give --hours, --minutes, or both")
    began = time.monotonic()
    use_tensor_cores()
    training = Training(out, torch.device(device), batch=batch, mode=mode)
    training.sounds = Sounds(
        recordings,
        training.device,
        slots=slots,
        share=share,
        step=training.step,
        fresh=fresh,
        workers=workers,
    )
    training.run(hours, minutes, began)
    if write:
        write_base(training.average.state_dict(), RepresentationSettings(), ModelSettings())
        write_codes(training.code_statistics())
    training.sounds.close()


def use_tensor_cores() -> None:
    """Let CUDA use TF32 for float32 matrix products, and choose the fastest convolutions by measurement."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True


class Training:
    """A training run, resumed from the checkpoint in `out` if it exists. `sounds` is set after creation."""

    sounds: Sounds

    def __init__(
        self, out: Path, device: torch.device, *, batch: int = BATCH, mode: str | None = None
    ) -> None:
        self.out, self.device, self.batch = out, device, batch
        torch.manual_seed(0)
        self.representation = MagnitudeIF(sample_rate=RATE).to(device)
        self.vae = VAE(ModelSettings(), self.representation).to(device).requires_grad_()
        self.average = VAE(ModelSettings(), self.representation).to(device).requires_grad_(False)
        self.average.load_state_dict(self.vae.state_dict())
        self.objective = Objective(self.representation, device)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), RATE_MAX, (0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.step = self.clips = 0
        if self.checkpoint.exists():
            state = load_state(self.checkpoint)
            self.step = state["step"]
            self.clips = state.get("clips", self.step * BATCH)
            self.vae.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.samples = CLIP_FRAMES * self.representation.hop - 1
        self.compute = torch.compile(self._compute, mode=mode) if mode else self._compute

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint."""
        return self.out / "checkpoint.safetensors"

    def run(self, hours: float | None, minutes: float | None, began: float) -> None:
        """Train for a total of `hours` of audio, or until `minutes` after `began`.

        The host synchronizes with the device only for logging and saving.
        """
        whole = None if hours is None else hours * 3600 * RATE / self.samples
        limit = math.inf if minutes is None else began + 60 * minutes
        started = saved = logged = time.monotonic()
        first, sums, seconds = self.step, {}, self.samples / RATE
        while (whole is None or self.clips < whole) and (now := time.monotonic()) < limit:
            progress = (now - started) / (limit - started) if whole is None else self.clips / whole
            for name, value in self._learn(progress).items():
                sums[name] = sums.get(name, 0) + value.detach()
            if self.step % LOG_STEPS == 0:
                steps, first = self.step - first, self.step
                means = "  ".join(f"{name} {float(value) / steps:.4f}" for name, value in sums.items())
                sums, before, logged = {}, logged, time.monotonic()
                pace = steps * self.batch * seconds / (logged - before)
                hour = self.clips * seconds / 3600
                print(f"{hour:.2f} h  {means}  ({pace:.0f} s of audio per s)", flush=True)
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                self.save()
        self.save()

    def rate_at(self, progress: float) -> float:
        """Return the learning rate of the next step, at a progress of 0..1."""
        rise = (self.clips + self.batch) / (WARMUP * BATCH)
        return RATE_MAX * min(1.0, rise) * min(1.0, (1 - progress) / FALL)

    def _compute(self, spectrogram: Tensor, noise: Tensor) -> dict[str, Tensor]:
        return self.objective(self.vae, spectrogram, noise)

    def _learn(self, progress: float) -> dict[str, Tensor]:
        self.optimizer.param_groups[0]["lr"] = self.rate_at(progress)
        clips = self.sounds.draw(self.batch, self.samples)
        with torch.no_grad():
            spectrogram = self.representation(clips)[..., :CLIP_FRAMES]
        generator = torch.Generator(self.device).manual_seed(self.step)
        shape = self.batch, self.vae.latent_size, self.vae.latent_frames(CLIP_FRAMES)
        noise = torch.randn(shape, generator=generator, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            parts = self.compute(spectrogram, noise)
        total = torch.stack(
            [self.objective.WEIGHTS[name] * value.float() for name, value in parts.items()]
        ).sum()
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.clips += self.batch
        share = min(AVERAGE ** (self.batch / BATCH), self.step / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.vae.parameters()), 1 - share)
        return parts

    @torch.no_grad()
    def code_statistics(self) -> CodeStatistics:
        """Return the statistics of the full code of the averaged model over the pool and the recordings."""
        recorded = self.sounds.recorded.split(self.sounds.lengths.tolist())
        sounds = chain(self.sounds.pool, recorded)
        cut = (windows(self.average, self.representation, sound.float()) for sound in sounds)
        return code_statistics(self.average, cut, MOST_JOINT_FRAMES)

    def save(self) -> None:
        """Save a checkpoint and the averaged model."""
        state = {
            "step": self.step,
            "clips": self.clips,
            "model": self.vae.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_state(self.checkpoint, state)
        save_state(self.out / "model.safetensors", self.average.state_dict())


if __name__ == "__main__":
    main()
