"""Peak memory of opening a corpus and drawing from it, for corpora of growing size.

Run: python benchmarks/memory.py. Each size runs in a process of its own; the corpora are noise.
"""

import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

MINUTES = (2, 20, 120)
RATE = 44_100


def measure(minutes: int, folder: Path) -> float:
    """Write minutes of noise, open them as a corpus, draw 200 batches; give the peak MB of this process."""
    import numpy as np
    import soundfile
    import torch

    from distill.corpus import open_corpus

    random = np.random.default_rng(0)
    for minute in range(minutes):
        noise = random.normal(0, 0.1, 60 * RATE).astype(np.float32)
        soundfile.write(folder / f"{minute}.wav", noise, RATE)
    corpus = open_corpus(folder, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        corpus.train.draw(16, 33_000, generator)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Print the table."""
    for minutes in MINUTES:
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(measure, (minutes, Path(folder)))
        print(
            f"{minutes:5} minutes of audio, {minutes * 60 * RATE * 4 / 1e6:7.0f} MB decoded: peak {peak:5.0f} MB"
        )


if __name__ == "__main__":
    main()
