"""Limits of sound quality: measures of originals whose magnitudes or phases are partly replaced.

Run: python benchmarks/floors.py RECORDINGS [--base]

Each row is the mean of the measures in `docs/metrics.md` over the recordings (first channel, at 44.1 kHz):
- the original itself, half a millisecond later;
- the original's magnitudes, with phases of white noise refined by a number of Griffin-Lim iterations;
- the same, with phases reconstructed frame by frame, with a latency of 3 frames (35 ms);
- unchanged tones (peaks 13 dB above the median of 41 bins, and two bins to either side), with log-magnitudes
  elsewhere smoothed over 9 bins and 3 frames, 16 iterations: without noise, with half the fluctuation of
  noise, and with all of it. A model that knew every tone and the envelope of all noise, but not the noise
  itself, would reach this;
- with --base, the base model, with and without the noise that it adds where its errors are those of noise,
  and with Griffin-Lim iterations that start from the original's phases;
- with its compact code (128 numbers per second);
- and with the code cut to the principal axes of the same recordings, for several numbers per second: no
  linear code of that size that is cut from the base's is better.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch
from attrs import evolve
from measures import MEASURES, audio_below, cell, figures, measure, read_sounds
from torch import Tensor, nn
from torch.nn import functional as F

from distill.base import load_base, load_compact
from distill.model import VAE
from distill.model.framewise import FramewisePhases
from distill.model.initialization import initialize_axes, windows
from distill.model.phases import white_noise, with_phases, with_phases_of
from distill.spectral.representation import MagnitudeIF

MEDIAN = 0.5 * math.log(math.log(2))
REACH, PEAK = 20, 1.5

LATER = 22
"""Samples: half a millisecond."""

CODES = 128, 256, 512
"""Numbers per second of small codes."""


def smoothed(magnitude: Tensor) -> Tensor:
    """Return the mean of log-magnitudes `[B, F, T]` over 9 bins and 3 frames."""
    padded = F.pad(magnitude[:, None], (1, 1, 4, 4), mode="replicate")
    return F.avg_pool2d(padded, (9, 3), 1)[:, 0]


def tonal(magnitude: Tensor) -> Tensor:
    """Return a mask of the bins of `[B, F, T]` that belong to a tonal peak."""
    rows = magnitude.mT.flatten(0, 1)
    around = F.pad(rows[:, None], (REACH, REACH), mode="replicate")[:, 0].unfold(-1, 2 * REACH + 1, 1)
    peaks = (rows > around.median(-1).values + PEAK).float()
    return (F.max_pool1d(peaks[:, None], 5, 1, 2)[:, 0] > 0).view(magnitude.mT.shape).mT


def later(waveform: Tensor) -> Tensor:
    """Return a recording `[C, N]` that begins half a millisecond later, and lacks as much of its end."""
    return F.pad(waveform, (LATER, -LATER))


class Substitutes:
    """Functions that replace parts of a recording `[C, N]`."""

    def __init__(self, representation: MagnitudeIF) -> None:
        self.representation = representation
        self.unit = math.log1p(1 / representation.floor)

    def phases(self, iterations: int) -> Callable[[Tensor], Tensor]:
        """Return a function that keeps the magnitudes and reconstructs phases."""

        def substitute(waveform: Tensor) -> Tensor:
            channels, samples = waveform.shape
            noise = white_noise(self.representation, channels, samples, waveform.device)
            magnitude = self.representation(waveform)[:, 0]
            return with_phases(magnitude, noise, self.representation, waveform.shape[-1], iterations)

        return substitute

    def framewise(self, iterations: int) -> Callable[[Tensor], Tensor]:
        """Return a function that keeps the magnitudes and reconstructs phases frame by frame."""

        def substitute(waveform: Tensor) -> Tensor:
            phases = FramewisePhases(self.representation, len(waveform), waveform.device, iterations)
            parts = [phases(self.representation(waveform)[:, 0]), phases.finish()]
            return torch.cat(parts, dim=1)[:, : waveform.shape[-1]]

        return substitute

    def noise(self, share: float) -> Callable[[Tensor], Tensor]:
        """Return a function that keeps tones, and replaces the rest by its envelope with a share of noise."""

        def substitute(waveform: Tensor) -> Tensor:
            channels, samples = waveform.shape
            noise = white_noise(self.representation, channels, samples, waveform.device)
            magnitude = self.representation(waveform)[:, 0]
            # The mean of a log-Rayleigh variable is 0.1053 nepers below its median.
            made = smoothed(magnitude) + 0.1053 + share * (noise[:, 0] - self.unit - MEDIAN)
            made = torch.where(tonal(magnitude), magnitude, made).clamp(min=0)
            return with_phases(made, noise, self.representation, waveform.shape[-1], 16)

        return substitute


def base_model(
    representation: MagnitudeIF,
    *,
    noise: bool = True,
    phases: bool = False,
    compact: bool = False,
    size: int | None = None,
    axes_of: Sequence[Tensor] = (),
) -> Callable[[Tensor], Tensor]:
    """Return a function that reconstructs with the base model.

    Args:
        representation: the representation.
        noise: whether the model adds its noise.
        phases: whether the Griffin-Lim iterations start from the original's phases.
        compact: whether the code is the compact one.
        size: the numbers per second to which the code is cut.
        axes_of: the recordings `[C, N]` whose principal axes are kept.
    """
    base = load_base()
    code = "compact" if compact else "rich"
    vae = VAE(evolve(base.model, code=code, latents_per_second=size), representation).eval()
    vae.load_state_dict(base.weights | (load_compact() if compact else {}), strict=False)  # else without axes
    if size is not None:
        initialize_axes(vae, (windows(vae, representation, sound[0]) for sound in axes_of))
    if not noise:
        nn.init.zeros_(vae.spread_out.weight)
        nn.init.constant_(vae.spread_out.bias, -20.0)

    def reconstruct(waveform: Tensor) -> Tensor:
        samples = waveform.shape[-1]
        latents, _ = vae.encode(representation(waveform))
        if not phases:
            return vae.sound(latents, representation, samples)
        drawn = white_noise(representation, len(latents), samples, latents.device)
        amplitude = representation.amplitude(vae.log_magnitude(latents, drawn))
        return with_phases_of(amplitude, waveform, representation, samples, vae.iterations)

    return reconstruct


@click.command()
@click.argument("recordings", type=click.Path(exists=True, path_type=Path))
@click.option("--base", is_flag=True)
def main(recordings: Path, *, base: bool) -> None:
    """Measure each substitute and print the table."""
    representation = MagnitudeIF()
    sounds = read_sounds(audio_below(recordings), representation.sample_rate)
    substitutes = Substitutes(representation)
    rows = {"the original, half a millisecond later": later}
    rows |= {f"the original's magnitudes, {n} iterations": substitutes.phases(n) for n in (0, 8, 16, 64)}
    for n in (4, 8):
        rows[f"the original's magnitudes, frame by frame, {n} iterations"] = substitutes.framewise(n)
    for share, words in ((0.0, "no noise"), (0.5, "half the noise"), (1.0, "noise")):
        rows[f"tones kept, envelopes of the rest, {words}"] = substitutes.noise(share)
    if base:
        rows["the base model, without its noise"] = base_model(representation, noise=False)
        rows["the base model"] = base_model(representation)
        rows["the base model, iterations from the original's phases"] = base_model(
            representation, phases=True
        )
        rows["the base model's compact code"] = base_model(representation, compact=True)
        for size in CODES:
            name = f"the base model, cut to these recordings' axes, {size} numbers per second"
            rows[name] = base_model(representation, size=size, axes_of=[sound for _, sound in sounds])
    print(f"| what | {' | '.join(MEASURES)} |\n|---|{'---|' * len(MEASURES)}")
    for name, substitute in rows.items():
        found = measure(substitute, sounds, representation.sample_rate)
        print(f"| {name} | {' | '.join(cell([value]) for value in figures(found).values())} |", flush=True)
    originals = [each.metrics.original_texture for each in found.results if each.metrics]
    print(f"\nThe originals' texture: {statistics.fmean(t for t in originals if t is not None):.2f} dB.")


if __name__ == "__main__":
    main()
