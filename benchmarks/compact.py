"""Training of the layers of the compact code that are in the package, on codes of the base model.

Run: python benchmarks/compact.py --recordings TRAIN [--sounds 30000] [--steps 8000] [--out runs/compact]
     [--write]

The base model encodes synthetic sounds (`benchmarks/synthetic`) and all recordings in TRAIN, at several
speeds. The axes of these codes and the hidden layers beside them then learn to restore the codes from 87
numbers for 8 frames. Differences in what is inaudible count little. Codes are kept in `--out`, so that the
script can be interrupted. `--write` puts the layers into the package; do so whenever the base model changes.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import soxr
import torch
from base_sounds import RATE, read_recordings
from synthetic import make_sound
from torch import Tensor, nn
from torch.nn import functional as F

from distill.base import load_base, write_compact
from distill.config.settings import ModelSettings
from distill.model import VAE
from distill.model.axes import CodeStatistics
from distill.model.initialization import importance_of
from distill.model.joint import AUDIBLE
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state

SEED = 2_000_000
"""The seed of the first sound, far beyond those of the base model's training."""

SPEEDS = 1.0, 0.6, 0.75, 0.87, 1.15, 1.3, 1.6
CHUNK, LONGEST = 1000, 4 * RATE
BATCH, RECORDED = 256, 1 / 3
RATE_MAX, WARMUP, DECAY = 1e-3, 100, 0.01
NOISE, PENALTY = 0.03, 1e-3
LOG_STEPS = 500


@click.command()
@click.option("--recordings", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--sounds", default=30_000, show_default=True)
@click.option("--steps", default=8000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/compact"), show_default=True)
@click.option("--write", is_flag=True, help="Put the layers into the package.")
def main(recordings: Path, *, sounds: int, steps: int, out: Path, write: bool) -> None:
    """Encode sounds, train the layers, and print their error."""
    torch.manual_seed(0)
    representation, base = MagnitudeIF(sample_rate=RATE), load_base()
    vae = VAE(ModelSettings(code="compact"), representation).eval().requires_grad_(False)
    vae.load_state_dict(base.weights, strict=False)
    synthetic = torch.cat([*synthetic_windows(vae, representation, sounds, out)])
    recorded = torch.cat([*recorded_windows(vae, representation, recordings)])
    training = Training(vae, synthetic[CHUNK:], recorded)
    print(f"principal axes: error {training.error(synthetic[:CHUNK]):.2f}", flush=True)
    for step in range(steps):
        training.learn(step, steps)
        if (step + 1) % LOG_STEPS == 0:
            print(f"step {step + 1}: error {training.error(synthetic[:CHUNK]):.2f}", flush=True)
    if write:
        write_compact(training.weights())


def synthetic_windows(vae: VAE, representation: MagnitudeIF, count: int, out: Path) -> Iterator[Tensor]:
    """Yield windows `[B, J, 1 + C]` of the codes of synthetic sounds, which are kept in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, CHUNK):
        path = out / f"codes-{first}.safetensors"
        if not path.exists():
            print(path, flush=True)
            seeds = range(SEED + first, SEED + min(first + CHUNK, count))
            parts = [windows(vae, representation, make_sound(seed, RATE)[:LONGEST], seed) for seed in seeds]
            save_state(path, {"windows": torch.cat(parts).half()})
        yield load_state(path)["windows"].float()


def recorded_windows(vae: VAE, representation: MagnitudeIF, folder: Path) -> Iterator[Tensor]:
    """Yield windows `[B, J, 1 + C]` of the codes of recordings at several speeds."""
    for number, channel in enumerate(read_recordings(folder)):
        for speed in SPEEDS:
            changed = channel if speed == 1 else soxr.resample(channel, RATE, RATE * speed)
            yield windows(vae, representation, changed, number)


@torch.no_grad()
def windows(vae: VAE, representation: MagnitudeIF, sound: np.ndarray, seed: int) -> Tensor:
    """Return the code of a sound `[N]` in windows `[B, J, 1 + C]`, from its beginning and from later on."""
    frames = vae.code.joint
    spectrogram = representation(torch.from_numpy(sound.astype(np.float32))[None])
    code = torch.cat(vae.encode_rich(spectrogram)[:2], dim=1)
    shift = 1 + seed % (frames - 1)
    parts = [each for each in (code, code[..., shift:]) if each.shape[-1]]
    whole = [F.pad(each, (0, -each.shape[-1] % frames), mode="replicate") for each in parts]
    return torch.cat([each[0].T.unflatten(0, (-1, frames)) for each in whole])


class Training:
    """The training of a model's axes and hidden layers, on windows `[B, J, 1 + C]` of its code."""

    def __init__(self, vae: VAE, synthetic: Tensor, recorded: Tensor) -> None:
        assert vae.axes is not None and vae.joint is not None  # noqa: S101, PT018  # the code is compact
        self.vae, self.axes, self.joint = vae, vae.axes, vae.joint
        self.sources = synthetic, recorded
        statistics = [
            CodeStatistics.of(each[..., 1:], each[..., 0] > each[..., 0].amax() - 2.3, vae.code.joint)
            for each in self.sources
        ]
        some = torch.cat([each[:: max(1, len(each) // 16)][:16] for each in self.sources]).mT
        importance = importance_of(vae, some[:, :1], some[:, 1:])
        self.axes.begin_with(statistics[0].mixed(statistics[1]), importance)
        self.importance = importance / importance.square().mean().sqrt()
        self.layers = nn.ModuleList([self.axes, self.joint]).requires_grad_()
        self.average = {name: value.clone() for name, value in self.layers.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            [each for each in self.layers.parameters() if each is not self.axes.logvar],
            RATE_MAX,
            (0.9, 0.99),
            weight_decay=DECAY,
        )

    def learn(self, step: int, steps: int) -> None:
        """Take a step."""
        half = steps / 2
        fall = 1.0 if step < half else 0.5 * (1 + math.cos(math.pi * (step - half) / half))
        self.optimizer.param_groups[0]["lr"] = RATE_MAX * min(1.0, step / WARMUP) * fall
        counts = BATCH - int(BATCH * RECORDED), int(BATCH * RECORDED)
        drawn = [
            source[torch.randint(len(source), (count,))]
            for source, count in zip(self.sources, counts, strict=True)
        ]
        self.optimizer.zero_grad()
        error, latents = self._loss(torch.cat(drawn), NOISE)
        (error + PENALTY * latents.square().sum(1).mean()).backward()
        nn.utils.clip_grad_norm_(self.layers.parameters(), 5.0)
        self.optimizer.step()
        share = min(0.999, (1 + step) / (10 + step))
        for name, value in self.layers.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - share)

    @torch.no_grad()
    def error(self, codes: Tensor) -> float:
        """Return the error of the averaged layers."""
        now = {name: value.clone() for name, value in self.layers.state_dict().items()}
        self.layers.load_state_dict(self.average)
        error, _ = self._loss(codes, 0.0)
        self.layers.load_state_dict(now)
        return float(error)

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights by their names in the model."""
        self.layers.load_state_dict(self.average)
        return {k: v for k, v in self.vae.state_dict().items() if k.startswith(("axes.", "joint."))}

    def _loss(self, codes: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Return the error of restored codes, and the latents `[B, K, 1]`.

        Levels are compared as logarithms of amplitudes above what is audible, and shapes where their band is.
        """
        code, joint = codes.mT, self.vae.code.joint
        levels_kept, latents = self.vae.reduce(code).tensor_split([joint], dim=1)
        moved = latents + noise * torch.randn_like(latents)
        made = self.vae.expand(torch.cat([levels_kept, moved], dim=1))
        (levels, shape), (got, got_shape) = (
            self.vae.code.part(each[:, :1], each[:, 1:]) for each in (code, made)
        )
        amplitude, got_amplitude = (self.vae.levels.amplitude(each) for each in (levels, got))
        heard = AUDIBLE * amplitude.amax((1, 2), keepdim=True) + self.vae.levels.floor
        weight = (amplitude / (amplitude + heard))[:, self.joint.bands]
        of_levels, of_shape = self.importance[:, None].split([len(levels[0]), len(shape[0])])
        louder = (torch.log(got_amplitude + heard) - torch.log(amplitude + heard)) / 3
        rougher = weight * (got_shape - shape)
        errors = [(of_levels * louder).square(), (of_shape * rougher).square()]
        return torch.cat(errors, dim=1).sum((1, 2)).mean(), latents


if __name__ == "__main__":
    main()
