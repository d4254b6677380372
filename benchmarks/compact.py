"""Training of the layers of the compact code that are in the package, on codes of the base model.

Run: python benchmarks/compact.py --recordings TRAIN [--minutes M | --steps N] [--begin LAYERS]
     [--out runs/compact] [--device cpu] [--batch 256] [--write]

The base model encodes clips of synthetic sounds (`benchmarks/synthetic`) and of the recordings in TRAIN. The
axes of these codes and the hidden layers beside them learn to restore the codes from 87 numbers for 8 frames.
Differences in what is inaudible count little. Each code is used several times, while new ones are made.

The training continues from the checkpoint in `--out`, if there is one. Otherwise it begins with `--begin`,
the `layers.safetensors` of another training or the compact code in the package, or with the principal axes.
`--write` puts the averaged layers into the package; do so whenever the base model changes. On a GPU, use
`--device cuda --batch 2048`.
"""

import math
import time
from pathlib import Path

import click
import torch
from base import use_tensor_cores
from base_sounds import RATE, Changes, Sounds
from torch import Tensor, nn

from distill.base import load_base, write_compact
from distill.config.settings import STRIDE, ModelSettings
from distill.model import VAE
from distill.model.axes import CodeStatistics
from distill.model.initialization import importance_of
from distill.model.joint import AUDIBLE
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state

CHANGES = Changes(octaves=0.7, same=0.4, whole=0.6, mixed=0.0, gains=(-12.0, 3.0))
SHARE = 0.5
"""The share of clips that are of recordings."""

BALANCE = 0.5
"""The power of the importance of the code's numbers by which their errors are weighted. With a power of 1,
more than half of the error is in the lowest two bands, where neither Zimtohrli nor mel bands notice it."""

MOST, STEPS = 500_000, 8
"""The windows that are remembered, and the steps between two draws, of an eighth as many clips as a batch."""

LEVELS = 0.5
"""The weight of differences of levels, in nepers, beside those of shapes."""

HEARD = 2.3
"""Frames this far below the loudest are not counted in the principal axes: 60 dB, in units of the code."""

WARMUP, FALL, DECAY = 100, 0.5, 0.01
NOISE, PENALTY = 0.03, 1e-3
LOG_STEPS, SAVE_SECONDS = 500, 60


@click.command()
@click.option("--recordings", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--minutes", type=float, help="Minutes of the clock to train for, instead of --steps.")
@click.option("--steps", default=8000, show_default=True, help="Steps of the whole training.")
@click.option("--batch", default=256, show_default=True, help="Windows in a step.")
@click.option("--rate", default=1e-3, show_default=True, help="The learning rate until half of the training.")
@click.option("--windows", default=10_000, show_default=True, help="Windows to encode before the first step.")
@click.option("--begin", type=click.Path(exists=True, path_type=Path), help="Layers to begin with.")
@click.option("--blend", default=0.0, show_default=True, help="The share of these layers in what is written.")
@click.option("--slots", default=1500, show_default=True, help="Synthetic sounds in the pool at a time.")
@click.option("--fresh", default=1, show_default=True, help="Sounds of it replaced whenever clips are drawn.")
@click.option("--workers", type=int, help="Processes that make sounds; three quarters of torch's threads.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/compact"), show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--write", is_flag=True, help="Put the layers into the package.")
def main(
    *, recordings: Path, minutes: float | None, steps: int, batch: int, rate: float, windows: int,
    begin: Path | None, blend: float, slots: int, fresh: int, workers: int | None, out: Path, device: str,
    write: bool,
) -> None:  # fmt: skip
    """Train the layers, and print their error on codes that they have not seen yet."""
    began = time.monotonic()
    use_tensor_cores()
    training = Training(out, torch.device(device), batch=batch, rate=rate, begin=begin)
    if training.step < steps or minutes is not None:
        sounds = Sounds(
            recordings,
            training.device,
            slots=slots,
            share=SHARE,
            step=training.drawn,
            fresh=fresh,
            workers=workers,
            changes=CHANGES,
        )
        training.run(sounds, windows, steps, began + 60 * minutes if minutes is not None else math.inf)
        sounds.close()
    if write:
        write_compact(training.averaged() if begin is None else mean_of(training.averaged(), begin, blend))


def layers_in(path: Path) -> dict[str, Tensor]:
    """Return the layers of a training, or of the file in the package, by their names in the model."""
    state = load_state(path)
    weights = state.get("weights", state)
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def mean_of(layers: dict[str, Tensor], path: Path, share: float) -> dict[str, Tensor]:
    """Return layers with a share of those in a file, from which their training began.

    On other sounds, it may keep what is better in each of both (Wortsman et al., 2022, arXiv 2109.01903).
    """
    first = {name: value for name, value in layers_in(path).items() if value.is_floating_point()}
    return layers | {name: torch.lerp(layers[name], value, share) for name, value in first.items()}


class Codes:
    """The latest windows `[J, 1 + C]` of the base's codes of sounds, on the device."""

    def __init__(self, vae: VAE, representation: MagnitudeIF, sounds: Sounds, clips: int) -> None:
        self.vae, self.representation, self.sounds, self.clips = vae, representation, sounds, clips
        self.samples = 2 * vae.stride * representation.hop - 1
        self.all = torch.empty(
            MOST, vae.code.joint, 1 + vae.code.size, dtype=torch.float16, device=vae.device
        )
        self.made = 0

    @torch.no_grad()
    def more(self) -> Tensor:
        """Encode other clips, add their windows `[B, J, 1 + C]`, and return these."""
        clips = self.sounds.draw(self.clips, self.samples)
        made = windows(self.vae, self.representation, clips)
        places = torch.arange(self.made, self.made + len(made), device=made.device) % MOST
        self.all[places] = made.half()
        self.made += len(made)
        return made

    def batch(self, count: int) -> Tensor:
        """Return some windows `[B, J, 1 + C]`."""
        drawn = torch.randint(min(self.made, MOST), (count,), device=self.all.device)
        return self.all[drawn].float()


@torch.no_grad()
def windows(vae: VAE, representation: MagnitudeIF, clips: Tensor) -> Tensor:
    """Return the codes of clips `[B, N]` as windows `[B', J, 1 + C]`, which are latent frames.

    As in a latent frame, the last frame of a sound is repeated. Windows after the end are left out.
    """
    joint = vae.code.joint
    code = torch.cat(vae.encode_rich(representation(clips))[:2], dim=1).mT
    place = torch.arange(clips.shape[-1], device=clips.device)
    samples = ((clips != 0) * place).amax(1)
    last = (samples // representation.hop // STRIDE)[:, None]
    numbers = torch.arange(-(-code.shape[1] // joint) * joint, device=clips.device)
    index = torch.minimum(numbers, last.clamp(max=code.shape[1] - 1))
    made = code.gather(1, index[..., None].expand(-1, -1, code.shape[2])).unflatten(1, (-1, joint))
    return made[numbers[::joint] <= last]


class Training:
    """The training of the axes and hidden layers, which is resumed if `out` has a checkpoint."""

    def __init__(
        self, out: Path, device: torch.device, *, batch: int, rate: float = 1e-3, begin: Path | None = None
    ) -> None:
        torch.manual_seed(0)
        self.out, self.device, self.batch, self.rate = out, device, batch, rate
        self.step = self.drawn = 0
        self.representation = MagnitudeIF(sample_rate=RATE).to(device)
        self.vae = VAE(ModelSettings(code="compact"), self.representation)
        self.vae.to(device).eval().requires_grad_(False).load_state_dict(load_base().weights, strict=False)
        assert self.vae.axes is not None and self.vae.joint is not None  # noqa: S101, PT018  # it is compact
        self.axes, self.joint = self.vae.axes, self.vae.joint
        self.layers = nn.ModuleList([self.axes, self.joint]).requires_grad_()
        learnt = [each for each in self.layers.parameters() if each is not self.axes.logvar]
        self.optimizer = torch.optim.AdamW(learnt, rate, (0.9, 0.99), weight_decay=DECAY, fused=True)
        self.importance = torch.ones(self.vae.code.size, device=device)
        self.average: dict[str, Tensor] = {}
        if begin is not None:
            self.vae.load_state_dict(layers_in(begin), strict=False)
        if self.checkpoint.exists():
            state = load_state(self.checkpoint)
            self.step, self.drawn = state["step"], state["drawn"]
            self.importance = state["importance"].to(device)
            self.layers.load_state_dict(state["layers"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = {name: value.to(device) for name, value in state["average"].items()}

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint."""
        return self.out / "checkpoint.safetensors"

    def run(self, sounds: Sounds, begun: int, steps: int, limit: float) -> None:
        """Train for `steps` in all or, if it is finite, until a time of the clock.

        At least `begun` windows are encoded before.
        """
        codes = Codes(self.vae, self.representation, sounds, max(1, self.batch // 8))
        while codes.made < begun:
            codes.more()
        if not self.average:
            self.begin(codes.all[: codes.made].float())
        started = saved = time.monotonic()
        while (now := time.monotonic()) < limit and (self.step < steps or limit < math.inf):
            if self.step % STEPS == 0:
                codes.more()
            progress = self.step / steps if limit == math.inf else (now - started) / (limit - started)
            self.learn(codes.batch(self.batch), progress)
            if self.step % LOG_STEPS == 0:
                fresh = torch.cat([codes.more() for _ in range(8)])
                print(f"step {self.step}, {codes.made} windows: error {self.error(fresh):.2f}", flush=True)
            if now - saved > SAVE_SECONDS:
                saved = now
                self.save(sounds.step)
        self.save(sounds.step)

    def begin(self, drawn: Tensor) -> None:
        """Measure what is important in windows `[B, J, 1 + C]`, and find their principal axes if needed."""
        level, rest = drawn[..., 0], drawn[..., 1:]
        importance = importance_of(self.vae, drawn[:64, :, :1].mT, drawn[:64, :, 1:].mT) ** BALANCE
        if not self.axes.begun:
            heard = level > level.amax() - HEARD
            self.axes.begin_with(CodeStatistics.of(rest, heard, self.vae.code.joint), importance)
        self.importance = importance / importance.square().mean().sqrt()
        self.average = {name: value.clone() for name, value in self.layers.state_dict().items()}

    def learn(self, drawn: Tensor, progress: float) -> None:
        """Take a step on windows `[B, J, 1 + C]`, at a progress of 0..1."""
        fall = 1.0 if progress < FALL else 0.5 * (1 + math.cos(math.pi * (progress - FALL) / (1 - FALL)))
        self.optimizer.param_groups[0]["lr"] = self.rate * min(1.0, self.step / WARMUP) * fall
        self.optimizer.zero_grad()
        error, latents = self._loss(drawn, NOISE)
        (error + PENALTY * latents.square().sum(1).mean()).backward()
        nn.utils.clip_grad_norm_(self.layers.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        share = min(0.999, self.step / (10 + self.step))
        for name, value in self.layers.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - share)

    @torch.no_grad()
    def error(self, drawn: Tensor) -> float:
        """Return the error of the averaged layers on windows `[B, J, 1 + C]`."""
        now = {name: value.clone() for name, value in self.layers.state_dict().items()}
        self.layers.load_state_dict(self.average)
        error, _ = self._loss(drawn, 0.0)
        self.layers.load_state_dict(now)
        return float(error)

    def averaged(self) -> dict[str, Tensor]:
        """Return the averaged weights by their names in the model."""
        names = {"0.": "axes.", "1.": "joint."}  # in the list of the layers
        return {names[name[:2]] + name[2:]: value.cpu() for name, value in self.average.items()}

    def save(self, drawn: int) -> None:
        """Save a checkpoint, with the number of times that clips were drawn."""
        self.drawn = drawn
        state = {
            "step": self.step,
            "drawn": drawn,
            "importance": self.importance,
            "layers": self.layers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        save_state(self.checkpoint, state)
        save_state(self.out / "layers.safetensors", self.averaged())

    def _loss(self, drawn: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Return the error of restored codes, and the latents `[B, K, 1]`.

        Levels are compared as logarithms of amplitudes above what is audible, and shapes where their band is.
        """
        code, joint = drawn.mT, self.vae.code.joint
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
        louder = LEVELS * (torch.log(got_amplitude + heard) - torch.log(amplitude + heard))
        rougher = weight * (got_shape - shape)
        errors = [(of_levels * louder).square(), (of_shape * rougher).square()]
        return torch.cat(errors, dim=1).sum((1, 2)).mean(), latents


if __name__ == "__main__":
    main()
