"""Speed of reconstruction with the base model: encoding, decoding and 16 Griffin-Lim iterations.

Run: python benchmarks/reconstruct.py [--threads 2] [--seconds 20] [--runs 5]

Each row is the median time for white noise of one channel or of two, and how many times faster than real time
that is. Sounds are reconstructed in pieces, as by `distill reconstruct`.
"""

import statistics
import time

import click
import torch
from page import machine, table

from distill.base import load_base
from distill.model import VAE
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF
from distill.training.memory import keep_freed_memory

RATE = 44_100


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--seconds", default=20, show_default=True)
@click.option("--runs", default=5, show_default=True)
def main(threads: int, seconds: int, runs: int) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    representation, base = MagnitudeIF(sample_rate=RATE), load_base()
    vae = VAE(base.model, representation).eval().requires_grad_(False)
    vae.load_state_dict(base.weights)
    rows = []
    for channels in (1, 2):
        generator = torch.Generator().manual_seed(0)
        waveform = 0.1 * torch.randn(channels, seconds * RATE, generator=generator)
        times = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            reconstruct(vae, representation, waveform)
            times.append(time.perf_counter() - start)
        taken = statistics.median(times[1:])
        rows.append([f"{channels}", f"{taken:.2f}", f"{seconds / taken:.0f}"])
    where = f"{machine(torch.device('cpu'))}, torch {torch.__version__}"
    print(f"{seconds} s of noise, {threads} threads, {where}:\n")
    print(table(["channels", "s", "times faster than real time"], rows))


if __name__ == "__main__":
    main()
