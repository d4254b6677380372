"""Where the sound is lost: a run's magnitudes and phases replaced, one after the other, by better ones.

Run: python benchmarks/floors.py RUN RECORDINGS

Each row is the mean over the recordings (their first channel). "As they are" compares magnitudes with
the original's without going through a waveform, which no phases could better. The best linear code of
these recordings has as many numbers per latent frame as the run's model, but was made knowing them: the
principal components of their own latent frames. Phases found by Griffin-Lim begin at random.
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
from distill.corpus.scanning import find_audio
from distill.evaluation import log_spectral_distance, multi_resolution_stft
from distill.memory import keep_freed_memory
from distill.model import VAE
from distill.refinement import refine
from distill.representation import MagnitudeIF
from distill.run import Run

ITERATIONS = 64
REFINEMENTS = 60


def magnitude_distance(log_magnitude: Tensor, original: Tensor, representation: MagnitudeIF) -> float:
    """Give the log-spectral distance in dB of magnitudes `[1, F, T]`, floored as that of sounds is."""
    sides = [representation.amplitude(side) for side in (log_magnitude, original)]
    floor = sides[1].amax() * 1e-4
    one, other = (20 * torch.maximum(side, floor).log10() for side in sides)
    return float((one - other).square().mean(dim=1).sqrt().mean())


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
    measured: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for original, spectrogram, code in zip(originals, spectrograms, linear, strict=True):
        latents, _ = vae.encode(spectrogram)
        refined = refine(vae, representation, original, latents, REFINEMENTS)
        decoded, better = (vae.decode(each, spectrogram.shape[-1]) for each in (latents, refined))
        noise = 2 * torch.rand(decoded[:, 1].shape, generator=torch.Generator().manual_seed(0)) - 1
        settled = int(vae.iterations)
        for magnitudes, phases, log_magnitude, frequency, iterations in (
            ("decoded", "decoded, then Griffin-Lim", decoded[:, 0], decoded[:, 1], settled),
            ("decoded", "random, then Griffin-Lim", decoded[:, 0], noise, settled),
            ("decoded", "of the original", decoded[:, 0], spectrogram[:, 1], 0),
            ("refined", "decoded, then Griffin-Lim", better[:, 0], better[:, 1], settled),
            ("refined", "of the original", better[:, 0], spectrogram[:, 1], 0),
            ("best linear code", "random, then Griffin-Lim", code, noise, ITERATIONS),
            ("best linear code", "of the original", code, spectrogram[:, 1], 0),
            ("of the original", "random, then Griffin-Lim", spectrogram[:, 0], noise, ITERATIONS),
        ):
            made = representation.inverse(
                torch.stack([log_magnitude, frequency], dim=1), original.shape[-1], iterations
            )
            distances = log_spectral_distance(made, original), multi_resolution_stft(made, original)
            measured.setdefault((magnitudes, phases), []).append((float(distances[0]), float(distances[1])))
        for magnitudes, log_magnitude in (
            ("decoded", decoded[:, 0]),
            ("refined", better[:, 0]),
            ("best linear code", code),
        ):
            distance = magnitude_distance(log_magnitude, spectrogram[:, 0], representation)
            measured.setdefault((magnitudes, "none: as they are"), []).append((distance, float("nan")))
    print(f"| {'magnitudes':18} | {'phases':26} | LSD dB | MR-STFT |\n| --- | --- | ---: | ---: |")
    for (magnitudes, phases), pairs in sorted(measured.items()):
        spectral, multi = (statistics.fmean(column) for column in zip(*pairs, strict=True))
        shown = "" if math.isnan(multi) else f"{multi:.2f}"
        print(f"| {magnitudes:18} | {phases:26} | {spectral:6.2f} | {shown:>7} |")


if __name__ == "__main__":
    main()
