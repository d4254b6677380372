"""Where the sound is lost: a run's magnitudes and phases replaced, one after the other, by better ones.

Run: python benchmarks/floors.py RUN RECORDINGS

Each row is the mean over the recordings (their first channel). "As they are" compares magnitudes with
the original's without going through a waveform, which no phases could better. The best linear code of
these recordings has as many numbers per latent frame as the run's model, but was made knowing them: the
principal components of their own latent frames. Phases are found by Griffin-Lim from random ones, as in
a model's sounds, or from the decoded IF. Repetition is how alike a sound is to itself one to eight hops
later (the largest correlation, of the sample differences): beyond the original's, noise rings. Level is
how much louder a sound is than the original.
"""

import math
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.assembly import load_model
from distill.audio import read_audio, resample
from distill.cli.options import REFINEMENTS
from distill.corpus.scanning import find_audio
from distill.evaluation import level_difference, log_spectral_distance, multi_resolution_stft
from distill.memory import keep_freed_memory
from distill.model import VAE
from distill.refinement import refine
from distill.representation import MagnitudeIF
from distill.run import Run

ITERATIONS = 64


def magnitude_distance(log_magnitude: Tensor, original: Tensor, representation: MagnitudeIF) -> float:
    """Give the log-spectral distance in dB of magnitudes `[1, F, T]`, floored as that of sounds is."""
    sides = [representation.amplitude(side) for side in (log_magnitude, original)]
    floor = sides[1].amax() * 1e-4
    one, other = (20 * torch.maximum(side, floor).log10() for side in sides)
    return float((one - other).square().mean(dim=1).sqrt().mean())


def repetition(waveform: Tensor, hop: int) -> float:
    """Give the largest correlation of a waveform `[1, N]` with itself one to eight hops later."""
    signal = waveform[0].diff()
    spectrum = torch.fft.rfft(signal, 2 * len(signal))
    correlation = torch.fft.irfft(spectrum.abs().square())
    later = correlation[hop : min(8 * hop, len(signal) - 1) + 1 : hop]
    return float(later.abs().max() / correlation[0]) if len(later) else 0.0


def best_linear_code(magnitudes: list[Tensor], vae: VAE) -> list[Tensor]:
    """Give magnitudes `[1, F, T]` as the principal components of their own latent frames have them."""
    padded = [F.pad(m[0].T, (0, 0, 0, -m.shape[-1] % vae.stride)) for m in magnitudes]
    rows = torch.cat([frames.reshape(-1, vae.stride * frames.shape[-1]) for frames in padded])
    mean = rows.mean(dim=0)
    _, _, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    kept = directions[: vae.latent_size]
    coded = mean + (rows - mean) @ kept.T @ kept
    parts = coded.split([len(frames) // vae.stride for frames in padded])
    return [
        part.reshape(-1, m.shape[1])[: m.shape[-1]].T[None].clamp(min=0)
        for part, m in zip(parts, magnitudes, strict=True)
    ]


@torch.no_grad()
def main() -> None:
    """Print a line for each pair of magnitudes and phases."""
    keep_freed_memory()
    vae, representation = load_model(Run(Path(sys.argv[1])))
    found = [read_audio(each.path) for each in find_audio(Path(sys.argv[2])).candidates]
    originals = [resample(waveform[:1], rate, representation.sample_rate) for waveform, rate in found]
    spectrograms = [representation(original) for original in originals]
    linear = best_linear_code([spectrogram[:, 0] for spectrogram in spectrograms], vae)
    settled, hop = int(vae.iterations), representation.hop
    measured: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for original, spectrogram, code in zip(originals, spectrograms, linear, strict=True):
        latents, _ = vae.encode(spectrogram)
        refined = refine(vae, representation, original, latents, REFINEMENTS)
        decoded, better = (vae.decode(each, spectrogram.shape[-1]) for each in (latents, refined))
        noise = 2 * torch.rand(decoded[:, 1].shape, generator=torch.Generator().manual_seed(0)) - 1
        rows = {
            ("decoded", "from the decoded IF"): (decoded[:, 0], decoded[:, 1], settled),
            ("decoded", "from random ones"): (decoded[:, 0], noise, settled),
            ("decoded", "the original's"): (decoded[:, 0], spectrogram[:, 1], 0),
            ("refined", "from random ones"): (better[:, 0], noise, settled),
            ("refined", "the original's"): (better[:, 0], spectrogram[:, 1], 0),
            ("best linear code", "from random ones"): (code, noise, ITERATIONS),
            ("best linear code", "the original's"): (code, spectrogram[:, 1], 0),
            ("the original's", "from random ones"): (spectrogram[:, 0], noise, ITERATIONS),
            ("the original's", "the original's"): (spectrogram[:, 0], spectrogram[:, 1], 0),
        }
        for name, (log_magnitude, frequency, iterations) in rows.items():
            both = torch.stack([log_magnitude, frequency], dim=1)
            made = representation.inverse(both, original.shape[-1], iterations)
            metrics = log_spectral_distance, multi_resolution_stft, level_difference
            row = *(float(metric(made, original)) for metric in metrics), repetition(made, hop)
            measured.setdefault(name, []).append(row)
        for name, log_magnitude in {
            "decoded": decoded[:, 0],
            "refined": better[:, 0],
            "best linear code": code,
        }.items():
            distance = magnitude_distance(log_magnitude, spectrogram[:, 0], representation)
            row = distance, math.nan, math.nan, math.nan
            measured.setdefault((name, "none: as they are"), []).append(row)
    print(
        "| magnitudes | phases | LSD dB | MR-STFT | level dB | repetition |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |"
    )
    for (magnitudes, phases), each in sorted(measured.items()):
        means = [statistics.fmean(column) for column in zip(*each, strict=True)]
        shown = " | ".join("" if math.isnan(mean) else f"{mean:.2f}" for mean in means)
        print(f"| {magnitudes} | {phases} | {shown} |")


if __name__ == "__main__":
    main()
