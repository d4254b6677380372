"""Memory use of opening a corpus and drawing from it, for corpora of various sizes.

Run: python benchmarks/memory.py, on Linux. Each size runs in its own process; the corpora are noise. Only the
process's anonymous memory is measured: what the system caches of files is reclaimed when needed.
"""

import multiprocessing
import re
import tempfile
from pathlib import Path

MINUTES = (2, 20, 120)
RATE = 44_100


def measure(minutes: int, folder: Path) -> float:
    """Write noise, open it as a corpus, draw 200 batches; return the MB of anonymous memory."""
    import numpy as np
    import soundfile
    import torch

    from distill.audio.corpus import open_corpus

    random = np.random.default_rng(0)
    for minute in range(minutes):
        noise = random.normal(0, 0.1, 60 * RATE).astype(np.float32)
        soundfile.write(folder / f"{minute}.wav", noise, RATE)
    corpus = open_corpus(folder, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        corpus.train.draw(16, 33_000, generator)
    (kilobytes,) = re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1e3


def main() -> None:
    """Print the table."""
    for minutes in MINUTES:
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            own = pool.apply(measure, (minutes, Path(folder)))
        decoded = minutes * 60 * RATE * 4 / 1e6
        print(f"{minutes:5} minutes of audio, {decoded:7.0f} MB decoded: {own:5.0f} MB of memory")


if __name__ == "__main__":
    main()
