"""How each choice of terms sounds after the same time: train, then measure on held-out recordings.

Run: python benchmarks/sound.py TRAIN HELDOUT --minutes 4 --loss default --loss stft,recon,kl
     [--seed 0 --seed 1] [--out runs/sound]

Every recording of TRAIN is trained on, and none of HELDOUT. `default` stands for a recipe that names no
terms. Prints a Markdown table of `distill evaluate`'s means, with the spread over the seeds: with the
latents as the encoder gives them, and refined.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import click


@click.command()
@click.argument("train", type=click.Path(exists=True))
@click.argument("heldout", type=click.Path(exists=True))
@click.option("--minutes", default=4.0, show_default=True)
@click.option("--loss", "losses", multiple=True, required=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/sound"), show_default=True)
@click.option("--set", "assignments", multiple=True)
def main(
    train: str,
    heldout: str,
    *,
    minutes: float,
    losses: tuple[str, ...],
    seeds: tuple[int, ...],
    out: Path,
    assignments: tuple[str, ...],
) -> None:
    """Train once per choice of terms and seed, measure, print the table."""
    print("| loss | seeds | LSD dB | MR-STFT | level dB |\n|---|---|---|---|---|")
    baselines: dict[str, dict[str, float]] = {}
    for loss in losses:
        results: dict[tuple[str, ...], list[dict[str, float]]] = {("--refine", "0"): [], (): []}
        for seed in seeds:
            run = out / f"{loss.replace(',', '-')}-{seed}"
            settings = [part for text in assignments for part in ("--set", text)]
            terms = () if loss == "default" else ("--loss", loss)
            distill("train", train, *terms, "--minutes", str(minutes), "--seed", str(seed),
                    "--out", str(run), "--set", "corpus.heldout_fraction=0", "--set", "training.pairs=0",
                    *settings)  # fmt: skip
            for refine, means in results.items():
                measured = json.loads(
                    distill("evaluate", str(run), heldout, "--json", "--no-visqol", *refine)
                )
                means.append(measured["model"]["mean"])
            baselines = {name: measured[name]["mean"] for name in ("mean_spectrum", "silence")}
        for refine, means in results.items():
            print_row(f"{loss}{', refined' if not refine else ''}", len(seeds), means)
    for name, mean in baselines.items():
        print_row(f"baseline: {name.replace('_', ' ')}", 0, [mean])


def distill(*arguments: str) -> str:
    """Run the command line and give what it prints."""
    command = [sys.executable, "-c", "from distill.cli import main; main()", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def print_row(name: str, seeds: int, means: list[dict[str, float]]) -> None:
    """Print one row, each figure as mean and, over several seeds, the range."""
    cells = []
    for metric in ("log_spectral_distance", "multi_resolution_stft", "level_difference"):
        values = [mean[metric] for mean in means]
        spread = f" ({min(values):.2f}..{max(values):.2f})" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):.2f}{spread}")
    print(f"| {name} | {seeds or ''} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
