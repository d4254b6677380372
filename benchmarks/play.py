"""Measure how fast sounds are made with controls, and how closely they follow them.

Run: python benchmarks/play.py RUN [--seconds 1] [--seeds 8] [--axis noisiness]

The script prints Markdown tables. The first is the processor time of a sound on one thread, once the model is
loaded and its axes are known: the median of as many as there are seeds. The second is, for each descriptor,
the change that was asked for and the change that `distill.controls.descriptors` measures: its median, 10th
and 90th percentile, and how many sounds go at least half of the way. With `--axis`, only the second is
printed, of that axis. The third is the variety of variations at several amounts beside that of the
recordings. Variety is that of `benchmarks/generated.py`: the mean distance of all pairs of log-mel
statistics.
"""

import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from generated import measure
from torch import Tensor

import distill
from distill.controls.descriptors import DESCRIPTORS, describe


def median_seconds(make: Callable[[int], object], seeds: int) -> float:
    """Return the median time of a call, after one that does not count."""
    make(0)
    times = []
    for seed in range(seeds):
        begin = time.process_time()
        make(seed)
        times.append(time.process_time() - begin)
    return sorted(times)[len(times) // 2]


def print_times(model: distill.Model, seconds: float, seeds: int) -> None:
    """Print how long a sound takes."""
    everything = {axis.name: 0.5 * axis.highest for axis in model.axes}
    names = [*model.latents]
    samples = int(seconds * model.sample_rate)
    sound = model.decode(model.latents[names[0]])[:1, :samples]
    stereo = sound.expand(2, -1) * torch.tensor([[1.0], [0.5]])

    def of_channels(channels: int, **arguments: object) -> float:
        """Return the time of sounds with so many channels, of which there are enough among the seeds."""
        kept = [
            seed
            for seed in range(10 * seeds)
            if len(model.generate(1, seed=seed, seconds=0.1)[0]) == channels
        ][:seeds]
        if not kept:
            return float("nan")
        return median_seconds(
            lambda index: model.generate(1, seed=kept[index % len(kept)], seconds=seconds, **arguments), seeds
        )

    print(f"\n| {seconds:g} s of sound, seconds of processor time | mono | stereo |\n|---|---|---|")
    print(f"| `generate` | {of_channels(1):.2f} | {of_channels(2):.2f} |")
    for axis in model.axes[:4]:
        values = {axis.name: everything[axis.name] or 0.5 * axis.lowest}
        print(f"| with {axis.name} | {of_channels(1, axes=values):.2f} | {of_channels(2, axes=values):.2f} |")
    print(
        f"| with all axes | {of_channels(1, axes=everything):.2f} | {of_channels(2, axes=everything):.2f} |"
    )
    rows: list[tuple[str, Callable[[Tensor], Callable[[int], object]]]] = [
        (
            "`between`, a step of ten",
            lambda given: lambda seed: model.between(given, names[1], 10, seed=seed),
        ),
        ("`near`, one variation", lambda given: lambda seed: model.near(given, 0.5, seed=seed)),
    ]
    for name, make in rows:
        parts = 10 if "ten" in name else 1
        cells = [median_seconds(make(given), min(2, seeds)) / parts for given in (sound, stereo)]
        print(f"| {name} | {cells[0]:.2f} | {cells[1]:.2f} |")


def print_axes(model: distill.Model) -> None:
    """Print the axes."""
    print("\n| axis | range | correlation | |\n|---|---|---|---|")
    for axis in model.axes:
        within = f"{axis.lowest:g}..{axis.highest:g}"
        print(f"| {axis.name} | {within} | {axis.correlation:+.2f} | {axis.description} |")


def print_accuracy(model: distill.Model, seconds: float, seeds: int, only: str | None = None) -> None:
    """Print what is asked for and what is measured, on other seeds than those of the axes."""
    head = ["descriptor", "asked", "measured: median", "10 %", "90 %", "within a noticeable difference"]
    print(f"\n| {' | '.join([*head, 'half and more'])} |\n{'|---' * 7}|")
    kept = range(1000, 1000 + seeds)
    plain = [describe(model.generate(1, seed=seed, seconds=seconds)[0], model.sample_rate) for seed in kept]
    for axis in (each for each in model.axes if each.name in DESCRIPTORS and only in (None, each.name)):
        steps = {axis.lowest, axis.lowest / 2, -1.0, 1.0, axis.highest / 2, axis.highest}
        for asked in sorted(each for each in steps if each and axis.lowest <= each <= axis.highest):
            got = []
            for seed, before in zip(kept, plain, strict=True):
                (made,) = model.generate(1, seed=seed, seconds=seconds, axes={axis.name: asked})
                got.append(describe(made, model.sample_rate)[axis.name] - before[axis.name])
            changes = torch.tensor(got)
            low, middle, high = changes.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
            half = int((changes / asked >= 0.5).sum())
            close = int(((changes - asked).abs() <= DESCRIPTORS[axis.name].noticeable).sum())
            print(
                f"| {axis.name}, {axis.unit} | {asked:+g} | {middle:+.2f} | {low:+.2f} | {high:+.2f} "
                f"| {close} of {seeds} | {half} of {seeds} |",
                flush=True,
            )


def print_variety(model: distill.Model, seeds: int) -> None:
    """Print the variety of variations."""
    rate = model.sample_rate
    longest = 3 * rate
    recordings = [model.decode(entry)[:, :longest] for entry in model.latents.values()]
    whole = measure((each, rate) for each in recordings).variety
    print(
        f"\nVariety of the recordings: {whole:.1f} dB. Of {seeds} variations, mean over 5 of the recordings:"
    )
    print("\n| amount | variety, dB | share |\n|---|---|---|")
    some = recordings[:: max(1, len(recordings) // 5)][:5]
    for amount in (0.25, 0.5, 1.0):
        made = [measure((each, rate) for each in model.near(one, amount, seeds)).variety for one in some]
        mean = sum(made) / len(made)
        print(f"| {amount:g} | {mean:.1f} | {mean / whole:.0%} |", flush=True)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seconds", default=1.0, show_default=True)
@click.option("--seeds", default=8, show_default=True)
@click.option("--axis", help="Measure only how closely sounds follow this axis.")
def main(run: Path, *, seconds: float, seeds: int, axis: str | None) -> None:
    """Measure, and print the tables."""
    torch.set_num_threads(1)
    model = distill.load(run)
    begin = time.process_time()
    _ = model.axes
    print(f"Axes measured or read in {time.process_time() - begin:.1f} s")
    if axis is not None:
        print_accuracy(model, seconds, seeds, axis)
        return
    print_axes(model)
    print_times(model, seconds, seeds)
    print_accuracy(model, seconds, seeds)
    print_variety(model, seeds)


if __name__ == "__main__":
    main()
