"""What the phases cost: a run's decoded magnitudes with phases of different origin.

Run: python benchmarks/phases.py RUN RECORDINGS

For each origin, the mean LSD and MR-STFT over the recordings (their first channel), after the run's own
number of Griffin-Lim iterations; those of the original need none.
"""

import statistics
import sys
from pathlib import Path

import torch

from distill.assembly import load_model
from distill.audio import read_audio, resample
from distill.corpus.scanning import find_audio
from distill.evaluation import log_spectral_distance, multi_resolution_stft
from distill.run import Run


@torch.no_grad()
def main() -> None:
    """Print a line for each origin."""
    vae, representation = load_model(Run(Path(sys.argv[1])))
    iterations = int(vae.iterations)
    measured: dict[str, list[tuple[float, float]]] = {}
    for found in find_audio(Path(sys.argv[2])).candidates:
        waveform, rate = read_audio(found.path)
        original = resample(waveform[:1], rate, representation.sample_rate)
        spectrogram = representation(original)
        latents, _ = vae.encode(spectrogram)
        decoded = vae.decode(latents, spectrogram.shape[-1])
        noise = torch.rand(decoded[:, 1].shape, generator=torch.Generator().manual_seed(0))
        for origin, frequency, count in (
            ("decoded", decoded[:, 1], iterations),
            ("random", 2 * noise - 1, iterations),
            ("of the original", spectrogram[:, 1], 0),
        ):
            made = representation.inverse(
                torch.stack([decoded[:, 0], frequency], dim=1), original.shape[-1], count
            )
            distances = log_spectral_distance(made, original), multi_resolution_stft(made, original)
            measured.setdefault(origin, []).append((float(distances[0]), float(distances[1])))
    for origin, pairs in measured.items():
        spectral, multi = (statistics.fmean(column) for column in zip(*pairs, strict=True))
        print(f"phases {origin:16} LSD {spectral:.2f} dB, MR-STFT {multi:.2f}")


if __name__ == "__main__":
    main()
