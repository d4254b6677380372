"""Sound quality of different losses after the same training time, measured on held-out recordings.

Run: python benchmarks/sound.py TRAIN HELDOUT [--minutes 4 | --steps N] --loss default
     --loss stft,recon,kl [--seed 0 --seed 1] [--out runs/sound] [--set model.code=compact]

As usual, one in ten of TRAIN's recordings is held out. HELDOUT is not used in training. `default` stands for
a recipe without `--loss`. The script prints a Markdown table of the measures of `distill evaluate`, with
their ranges over the seeds: for the runs, the base model (a run of one step), and the baselines.
`docs/metrics.md` defines the measures.
"""

import json
import statistics
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

MEASURES = {
    "Zimtohrli": lambda found: found["mean"]["zimtohrli"],
    "tones": lambda found: found["mean"]["tones"],
    "texture": lambda found: found["mean"]["texture"],
    "abs. level dB": itemgetter("mean_absolute_level"),
    "worst level dB": lambda found: found["worst_level"]["level_difference"],
    "mel dB": lambda found: found["mean"]["mel"],
    "LSD dB": lambda found: found["mean"]["log_spectral_distance"],
}


@click.command()
@click.argument("train", type=click.Path(exists=True))
@click.argument("heldout", type=click.Path(exists=True))
@click.option("--minutes", default=4.0, show_default=True)
@click.option("--steps", type=int, help="Steps instead of minutes, as on a busy machine.")
@click.option("--loss", "losses", multiple=True, required=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/sound"), show_default=True)
@click.option("--set", "assignments", multiple=True)
def main(
    train: str,
    heldout: str,
    *,
    minutes: float,
    steps: int | None,
    losses: tuple[str, ...],
    seeds: tuple[int, ...],
    out: Path,
    assignments: tuple[str, ...],
) -> None:
    """Train for each loss and seed, evaluate, and print the table."""
    print(f"| loss | seeds | {' | '.join(MEASURES)} |\n|---|---|{'---|' * len(MEASURES)}", flush=True)
    measured: dict[str, Any] = {}
    for loss in ("base", *losses):
        terms = () if loss in ("base", "default") else ("--loss", loss)
        trained = ("--steps", f"{steps}") if steps else ("--minutes", f"{minutes:g}")
        length = ("--steps", "1") if loss == "base" else trained
        found = []
        for seed in seeds[:1] if loss == "base" else seeds:
            run = out / f"{loss.replace(',', '-')}-{seed}"
            settings = [part for text in assignments for part in ("--set", text)]
            distill("train", train, *terms, *length, "--seed", f"{seed}", "--out", f"{run}",
                    "--set", "training.pairs=0", *settings)  # fmt: skip
            measured = json.loads(distill("evaluate", f"{run}", heldout, "--json", "--no-visqol"))
            found.append(measured["model"])
        print_row(loss, found)
    for name in ("linear_code", "mean_spectrum", "silence", "ceiling"):
        print_row(name.replace("_", " "), [measured[name]])


def distill(*arguments: str) -> str:
    """Run the command line and return its output."""
    command = [sys.executable, "-c", "from distill.cli import main; main()", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def print_row(name: str, found: list[dict[str, Any]]) -> None:
    """Print a row with the mean of each figure and, for several seeds, its range."""
    cells = []
    for take in MEASURES.values():
        values = [take(each) for each in found]
        if any(value is None for value in values):
            cells.append("")
            continue
        spread = f" ({min(values):.2f}..{max(values):.2f})" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):.2f}{spread}")
    print(f"| {name} | {len(found)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
