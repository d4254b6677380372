"""What each term of the plugins gives to the sound: train with it for as long as without, and measure.

Run: python benchmarks/terms.py TRAIN HELDOUT [--minutes 2] [--jobs 2] [--seed 0 --seed 1] [--loss LIST ...]
     [--out runs/terms] [--write]

Every recording of TRAIN is trained on, and none of HELDOUT; each training has one thread, and `--jobs` of
them run at a time. Prints a Markdown table, with the spread over the seeds; `--write` puts it into
`docs/sound.md`, and the rows of a plugin's terms into the plugin's README. What is in `--out` already is not
done again.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TypeAlias

import click
import torch
from page import machine, table, write_section

ROOT = Path(__file__).parents[1]
BASE = "stft,recon,kl"
LOSSES = (
    BASE,
    "default",
    *(
        f"{BASE},{term}"
        for term in (
            "mel",
            "weighted_stft",
            "loudness",
            "phase",
            "group_delay",
            "consistency",
            "auraloss_multi_resolution_stft",
            "band_energy",
            "adversarial",
        )
    ),
    *(f"stft,recon,{term}" for term in ("kl_capacity", "kl_batch_free_bits", "mmd")),
)
METRICS = {
    "LSD dB": "log_spectral_distance",
    "MR-STFT": "multi_resolution_stft",
    "mel": "mel",
    "level dB": "level_difference",
}
Results: TypeAlias = Mapping[str, Sequence[Mapping[str, float]]]


@click.command()
@click.argument("train", type=click.Path(exists=True))
@click.argument("heldout", type=click.Path(exists=True))
@click.option("--minutes", default=2.0, show_default=True)
@click.option("--jobs", default=2, show_default=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1), show_default=True)
@click.option("--loss", "losses", multiple=True, default=LOSSES)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/terms"), show_default=True)
@click.option("--write", is_flag=True, help="Put the tables into the pages.")
def main(
    train: str,
    heldout: str,
    *,
    minutes: float,
    jobs: int,
    seeds: tuple[int, ...],
    losses: tuple[str, ...],
    out: Path,
    write: bool,
) -> None:
    """Train once per choice of terms and seed, measure, print the table."""

    def measure(choice: tuple[str, int]) -> Mapping[str, float]:
        loss, seed = choice
        return measured(train, heldout, loss, seed, minutes, out / f"{loss.replace(',', '-')}-{seed}")

    choices = list(product(losses, seeds))
    with ThreadPoolExecutor(jobs) as pool:
        means = dict(zip(choices, pool.map(measure, choices), strict=True))
    results = {loss: [means[loss, seed] for seed in seeds] for loss in losses}
    command = f"python benchmarks/terms.py TRAIN HELDOUT --minutes {minutes:g}"
    text = f"`{command}`, seeds {', '.join(map(str, seeds))}, on {machine(torch.device('cpu'))}:\n\n"
    print(text + rows_of(results, losses))
    if write:
        write_section(ROOT / "docs" / "sound.md", "terms", text + rows_of(results, losses))
        for plugin in sorted((ROOT / "plugins").iterdir()):
            chosen = [loss for loss in losses if plugin.name in distributions(loss)]
            if chosen:
                write_section(plugin / "README.md", "measured", text + rows_of(results, [BASE, *chosen]))


def measured(
    train: str, heldout: str, loss: str, seed: int, minutes: float, run: Path
) -> Mapping[str, float]:
    """Train a run and measure it, unless that has been done; give its means."""
    record = run.parent / f"{run.name}.json"
    if not record.exists():
        terms = () if loss == "default" else ("--loss", loss)
        settings = ("--set", "corpus.heldout_fraction=0", "--set", "training.pairs=0")
        distill("train", train, *terms, "--minutes", f"{minutes:g}", "--seed", f"{seed}",
                "--out", f"{run}", *settings)  # fmt: skip
        measures = ("--refine", "0", "--loss", "mel", "--no-visqol", "--json")
        told = json.loads(distill("evaluate", f"{run}", heldout, *measures))
        mean = told["model"]["mean"]
        record.write_text(json.dumps(mean | mean["terms"]))
    means: Mapping[str, float] = json.loads(record.read_text())
    return means


def distill(*arguments: str) -> str:
    """Run the command line on one thread, and give what it prints."""
    command = [sys.executable, "-m", "distill", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def distributions(loss: str) -> set[str]:
    """Name the distributions of the terms of a choice."""
    from distill import Registry

    return set() if loss == "default" else {term.distribution for term in Registry().choose(loss)}


def rows_of(results: Results, losses: Sequence[str]) -> str:
    """Set the table of these choices, each figure as mean and range over the seeds."""
    rows = []
    for loss in losses:
        cells = [f"`{loss}`" if loss != "default" else "without `--loss`"]
        for metric in METRICS.values():
            values = [mean[metric] for mean in results[loss]]
            cells.append(f"{statistics.fmean(values):.2f} ({min(values):.2f}..{max(values):.2f})")
        rows.append(cells)
    return table(["loss", *METRICS], rows)


if __name__ == "__main__":
    main()
