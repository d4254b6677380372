"""Comparison of generated sounds with the training recordings: levels, variety, copies, tones.

Run: python benchmarks/generated.py RUN [-n 40] [--seed 0] [--temperature 1]

The script prints a Markdown table. Recordings are those that the run was trained on. Their reconstructions
(`--refine 0`) are listed, too: they separate effects of the model from those of `distill generate`.

Levels are the RMS of the whole sound in dB relative to full scale, of new sounds as `distill generate` writes
them, within full scale. Sounds are compared by their log-mel
statistics: mean and standard deviation over the frames of each of 80 mel bands, in dB, with a floor 80 dB
below a full-scale sine, averaged over channels. The distance of two sounds is the RMS of the difference.
Variety is the mean distance of all pairs. A copy is nearer to a recording than 95 % of the recordings are to
their nearest neighbours. Tonal peaks are those of `distill evaluate`, per second and channel, averaged over
the sounds. A few recordings have most of them, so that the number depends on which recordings are drawn.
Therefore the last row has the means over the recordings that were drawn, two for each new sound.
"""

import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import torch
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import write_demo_corpus
from distill.audio.limiting import within_full_scale
from distill.audio.soundfiles import read_audio, resample
from distill.evaluation import log_mel, tonal_peaks
from distill.evaluation.recordings import corpus_of
from distill.inference import load
from distill.model.sounds import bank_statistics, decode, draw, quietest, reconstruct
from distill.storage.checkpoints import load_state
from distill.storage.run import Run


@frozen(eq=False)
class Sounds:
    """Measurements of S sounds: peaks, levels in dB, tones and channels `[S]`, and statistics `[S, 160]`."""

    peaks: Tensor
    levels: Tensor
    statistics: Tensor
    tones: Tensor
    channels: Tensor

    @property
    def distances(self) -> Tensor:
        """Return the distances `[S, S]` of all pairs, infinite on the diagonal."""
        return distances(self.statistics, self.statistics).fill_diagonal_(torch.inf)

    @property
    def variety(self) -> float:
        """Return the mean distance of all pairs."""
        apart = self.distances
        return float(apart[apart.isfinite()].mean())


def distances(some: Tensor, others: Tensor) -> Tensor:
    """Return the RMS differences `[S, O]` of statistics `[S, K]` and `[O, K]`."""
    return (some[:, None] - others).square().mean(dim=-1).sqrt()


def measure(waveforms: Iterable[tuple[Tensor, int]], quietest: float = -math.inf) -> Sounds:
    """Measure waveforms with their sample rates. Those that exceed full scale are brought within it first."""
    peaks, levels, statistics, channels, tones = [], [], [], [], []
    for given, rate in waveforms:
        peaks.append(float(given.abs().max()))
        waveform = within_full_scale(given, rate, quietest).samples
        levels.append(float(10 * waveform.double().square().mean().clamp(min=1e-12).log10()))
        bands = torch.stack([log_mel(channel, rate) for channel in waveform])
        parts = bands.mean(dim=1), bands.std(dim=1, correction=0)
        statistics.append(torch.cat(parts, dim=1).mean(dim=0))
        channels.append(len(waveform))
        peaks_of_tones = sum(tonal_peaks(channel) for channel in waveform) / len(waveform)
        tones.append(peaks_of_tones * rate / waveform.shape[-1])
    return Sounds(
        torch.tensor(peaks), torch.tensor(levels), torch.stack(statistics), torch.tensor(tones),
        torch.tensor(channels),
    )  # fmt: skip


def recordings_of(run: Run) -> list[Path]:
    """Return the training recordings of a run."""
    names = load_state(run.latents)["latents"]
    corpus = corpus_of(run)
    folder = write_demo_corpus(Path(tempfile.mkdtemp())) if corpus is None else Path(corpus)
    return [folder / name for name in names]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-n", "count", default=40, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--temperature", default=1.0, show_default=True)
def main(run: Path, *, count: int, seed: int, temperature: float) -> None:
    """Generate sounds, measure them, and print the table."""
    files = recordings_of(Run(run))
    model = load(run)
    vae, representation, rate = model.vae, model.representation, model.sample_rate
    bank = [*model.latents.values()]
    statistics = bank_statistics(vae, representation, bank)
    pairs: list[list[int]] = []

    def reconstructed(path: Path) -> tuple[Tensor, int]:
        return reconstruct(vae, representation, resample(*read_audio(path), rate)), rate

    def generated() -> Iterator[tuple[Tensor, int]]:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            # `draw` chooses the two recordings first.
            same = torch.Generator().set_state(generator.get_state())
            pairs.append(torch.randperm(len(bank), generator=same)[:2].tolist())
            new, samples = draw(
                vae, representation, bank, statistics, generator=generator, temperature=temperature
            )
            made = decode(vae, representation, new.latents, samples, new.coherence, contrast=new.contrast)
            yield made, rate

    made = measure(generated(), quietest(vae, statistics))
    columns = [measure(map(read_audio, files)), measure(map(reconstructed, files)), made]
    recordings = columns[0]
    nearest = recordings.distances.amin(dim=1)
    low, high = (float(recordings.levels.quantile(q)) for q in (0.05, 0.95))
    copy = float(nearest.quantile(0.05))
    print("| | recordings | reconstructions | new sounds |\n|---|---|---|---|")
    cells = [f"{len(each.channels)}, {int((each.channels > 1).sum())}" for each in columns]
    print_row("sounds, and how many of them stereo", cells)
    cells = [f"{int((each.peaks > 1).sum())}, highest peak {each.peaks.max():.2f}" for each in columns]
    print_row("above full scale, before they are turned down", cells)
    cells = [
        f"{int(((each.levels >= low) & (each.levels <= high)).sum())} "
        f"({each.levels.min():.1f}..{each.levels.max():.1f}, median {each.levels.median():.1f})"
        for each in columns
    ]
    print_row(f"levels within {low:.1f}..{high:.1f} dB", cells)
    cells = [f"{each.variety:.1f} ({each.variety / recordings.variety:.0%})" for each in columns]
    print_row("variety, dB", cells)
    far = [nearest, *(distances(each.statistics, recordings.statistics).amin(dim=1) for each in columns[1:])]
    cells = [f"{each.min():.1f}, {each.median():.1f}" for each in far]
    print_row("distance to the nearest recording, dB: least, median", cells)
    print_row(
        f"copies: nearer than {copy:.1f} dB", ["", *(f"{int((each < copy).sum())}" for each in far[1:])]
    )
    means = [float(each.tones.mean()) for each in columns]
    print_row("tonal peaks per second", [f"{each:.0f} ({each / means[0]:.0%})" for each in means])
    drawn = [float(each.tones[torch.tensor(pairs)].mean()) for each in columns[:2]]
    cells = [f"{drawn[0]:.0f} (100%)", f"{drawn[1]:.0f} ({drawn[1] / drawn[0]:.0%})"]
    print_row("the same of those that were drawn", [*cells, f"{means[2]:.0f} ({means[2] / drawn[0]:.0%})"])


def print_row(name: str, cells: list[str]) -> None:
    """Print a row of the table."""
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
