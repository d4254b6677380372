"""Preservation of stereo: correlation, levels and sound of channels decoded independently and together.

Run: python benchmarks/stereo.py RUN RECORDINGS... [--seconds 3]

The sounds are the multi-channel recordings, and mixtures made of the others and of noise: sources panned,
mixed, delayed, out of phase, on one side only. The script prints a Markdown table: the error of the
correlation of the first two channels (mean and maximum), the maximum error of a channel's level, Zimtohrli's
mean over channels, and the error of the real part of the coherence, averaged over bins weighted by their
amplitude.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from attrs import astuple, frozen
from torch import Tensor

from distill.audio.corpus.scanning import find_audio
from distill.audio.soundfiles import read_audio, resample
from distill.evaluation import Zimtohrli
from distill.model.channels import coherence_of
from distill.model.loading import load_model
from distill.model.sounds import reconstruct
from distill.storage.run import Run

N_FFT = 2048
AUDIBLE = 1e-4
DELAY = 0.0005


@frozen
class Row:
    """The measurements of one sound."""

    correlation: float
    level: float
    zimtohrli: float
    coherence: float


def correlation(waveform: Tensor) -> float:
    """Return the correlation of the first two channels, or 0 if one of them is silent."""
    left, right = waveform[:2].double()
    size = left.norm() * right.norm()
    return float(left @ right / size) if size > 0 else 0.0


def measure(made: Tensor, original: Tensor, sample_rate: int, listener: Zimtohrli) -> Row:
    """Compare a reconstruction `[C, N]` with the original."""
    heard = original.abs().amax(dim=1) > AUDIBLE
    levels = [10 * each[heard].double().square().mean(dim=1).log10() for each in (made, original)]
    ratings = [listener(*pair, sample_rate) for pair in zip(made[heard], original[heard], strict=True)]
    numbers = [rating for rating in ratings if rating is not None]
    coherences = [coherence_of(each, N_FFT)[0, 1].real for each in (made, original)]
    weights = torch.stft(
        original, N_FFT, window=torch.hann_window(N_FFT), pad_mode="constant", return_complex=True
    ).abs()[:2].sum((0, 2))  # fmt: skip
    return Row(
        abs(correlation(made) - correlation(original)),
        float((levels[0] - levels[1]).abs().max()),
        sum(numbers) / len(numbers),
        float(((coherences[0] - coherences[1]).abs() * weights).sum() / weights.sum()),
    )


def made_of(one: Tensor, other: Tensor, sample_rate: int) -> Iterator[tuple[str, Tensor]]:
    """Yield names and waveforms of kinds of multi-channel sounds made from two sources `[N]`."""
    # The model's own noise uses seeds from 0 on.
    noise = 0.05 * torch.randn(3, len(one), generator=torch.Generator().manual_seed(1000))
    delay = round(DELAY * sample_rate)
    yield "equal channels", one.expand(2, -1)
    yield "panned", torch.stack([one, 0.3 * one])
    yield "one side silent", torch.stack([one, torch.zeros_like(one)])
    yield "out of phase", torch.stack([one, -0.7 * one])
    yield "narrow", torch.stack([one + 0.1 * other, one - 0.1 * other])
    yield "two sources, panned", torch.stack([one + 0.3 * other, 0.3 * one + other])
    yield "delayed", torch.stack([one, one.roll(delay)])
    yield "in noise of each side", one + noise[:2]
    yield "noise alone", noise[:2]
    yield "noise that correlates", torch.stack([noise[0], 0.6 * noise[0] + 0.8 * noise[1]])
    yield "three channels", torch.stack([one, 0.5 * one + other, noise[2]])


def material(folders: tuple[Path, ...], sample_rate: int, seconds: float) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of a kind and a waveform `[C, N]` for each recording and each mixture."""
    samples, alone = int(seconds * sample_rate), []
    for folder in folders:
        for found in find_audio(folder).candidates:
            waveform, rate = read_audio(found.path)
            waveform = resample(waveform, rate, sample_rate)[:, :samples]
            alone.append(resample(waveform[:1], sample_rate, sample_rate, samples)[0])
            if len(waveform) > 1:
                kind = "recordings" if correlation(waveform) < 0.99 else "recordings, equal or nearly"
                yield kind, waveform
    for one, other in zip(alone[:8:2], alone[1:8:2], strict=False):
        yield from made_of(one, other, sample_rate)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", default=3.0, show_default=True, help="Of each recording.")
@torch.no_grad()
def main(run: Path, folders: tuple[Path, ...], *, seconds: float) -> None:
    """Print a row for each kind of sound."""
    vae, representation = load_model(Run(run))
    rate, listener = representation.sample_rate, Zimtohrli()
    kinds: dict[str, list[tuple[Row, Row]]] = {}
    for kind, waveform in material(folders, rate, seconds):
        apart = vae.sound(vae.encode(representation(waveform))[0], representation, waveform.shape[-1])
        together = reconstruct(vae, representation, waveform)
        rows = (measure(made, waveform, rate, listener) for made in (apart, together))
        kinds.setdefault(kind, []).append((next(rows), next(rows)))
    heads = ("correlation, off by", "level, off by dB", "Zimtohrli", "coherence, off by")
    print(f"| kind | sounds | {' | '.join(f'{head}: apart | together' for head in heads)} |")
    print(f"|---|---|{'---|' * 2 * len(heads)}")
    kinds["all"] = [pair for pairs in kinds.values() for pair in pairs]
    for kind, pairs in kinds.items():
        table = torch.tensor([[astuple(row) for row in pair] for pair in pairs])  # [sounds, 2, 4]
        mean, most = table.mean(0), table.amax(0)
        cells = [f"{mean[way, 0]:.2f}, at most {most[way, 0]:.2f}" for way in (0, 1)]
        cells += [f"{most[way, 1]:.2f}" for way in (0, 1)]
        cells += [f"{mean[way, column]:.2f}" for column in (2, 3) for way in (0, 1)]
        print(f"| {kind} | {len(pairs)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
