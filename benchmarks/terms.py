"""Effect of a short training with different losses on the base model, on training and held-out recordings.

Run: python benchmarks/terms.py TRAIN HELDOUT [--steps 260] [--files 5 --files 20 --files 50]
     [--seed 0 --seed 1] [--loss LIST ...] [--jobs 2] [--out runs/terms] [--write SECTION]

Each training uses `--files` of TRAIN's recordings, one in ten of which is held out, and one thread; `--jobs`
trainings run at a time. 260 steps take a minute on two idle cores. Every model is measured on HELDOUT and on
at most 13 of its training recordings, in the state that `distill train` leaves, which keeps only as much of
the training as does no harm. Models with the largest number of files are measured again with all of the
training kept (`training.keep=1`).

The script prints two tables, each figure with its range over the seeds: models with all of the training kept,
which shows the effect of each loss itself; and models as left by `distill train`, as differences from the
base model. `--write terms` writes both to `docs/sound.md`, and the rows of a plugin's terms to the plugin's
README. `--write minute` writes the second table to `docs/sound.md`. Results that exist in `--out` are not
computed again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import click
import torch
from attrs import frozen
from measures import MEASURES, Sounds, audio_below, cell, figures, measure, read_sounds
from page import machine, table, write_section

from distill.base import load_base
from distill.model import VAE
from distill.model.loading import load_model
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF
from distill.storage.run import Run

ROOT = Path(__file__).parents[1]
BASE = "stft,recon,kl"
LOSSES = (
    "default",
    BASE,
    *(
        f"{BASE},{term}"
        for term in (
            "waveform",
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
)
"""Terms that depend only on the posterior are left out, since they have no effect on a frozen encoder."""

MOST = 13
"""The maximum of training recordings that are measured."""

DIFFERENCES = ("Zimtohrli", "tones", "mel dB", "LSD dB")


@frozen
class Choice:
    """A training run: number of files, loss and seed."""

    files: int
    loss: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return f"{self.files}-{self.loss.replace(',', '-')}-{self.seed}"


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("heldout", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=260, show_default=True)
@click.option("--files", "counts", multiple=True, type=int, default=(50,), show_default=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1), show_default=True)
@click.option("--loss", "losses", multiple=True, default=LOSSES)
@click.option("--jobs", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/terms"), show_default=True)
@click.option("--write", type=click.Choice(["terms", "minute"]), help="Put this table into the pages.")
def main(
    train: Path, heldout: Path, *, steps: int, counts: tuple[int, ...], seeds: tuple[int, ...],
    losses: tuple[str, ...], jobs: int, out: Path, write: str | None,
) -> None:  # fmt: skip
    """Train for each choice, measure, and print the tables."""
    torch.set_num_threads(1)
    trials = Trials(train, heldout, steps, out, most=max(counts))
    choices = [Choice(*each) for each in product(counts, losses, seeds)]
    for count in counts:  # before two threads make the same folder
        trials.corpus(count)
    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip(choices, pool.map(trials.found, choices), strict=True))
    command = f"python benchmarks/terms.py TRAIN HELDOUT --steps {steps}"
    command += "".join(f" --files {count}" for count in counts)
    machines = " and ".join(dict.fromkeys(each["machine"] for each in found.values()))
    text = f"`{command}`, seeds {', '.join(map(str, seeds))}, on {machines}:\n\n"
    whole, left = terms_table(found, losses, trials.base(heldout)), minute_table(found)
    print(f"{text}{whole}\n\n{left}")
    if write == "minute":
        write_section(ROOT / "docs" / "sound.md", "minute", text + left)
    if write == "terms":
        as_left = "As `distill train` leaves them, as differences from the base model:"
        write_section(ROOT / "docs" / "sound.md", "terms", f"{text}{whole}\n\n{as_left}\n\n{left}")
        for plugin in sorted((ROOT / "plugins").iterdir()):
            chosen = [loss for loss in losses if plugin.name in distributions(loss)]
            if chosen:
                rows = terms_table(found, [BASE, *chosen], trials.base(heldout))
                write_section(plugin / "README.md", "measured", text + rows)


class Trials:
    """Training runs and measurements, whose results are cached in the folder `out`."""

    def __init__(self, train: Path, heldout: Path, steps: int, out: Path, *, most: int) -> None:
        self.train, self.heldout, self.steps, self.out, self.most = train, heldout, steps, out, most
        self.representation = MagnitudeIF()
        self.bases: dict[tuple[Path, ...], Mapping[str, float | None]] = {}

    def base(self, *heard: Path) -> Mapping[str, float | None]:
        """Return the base model's figures on these recordings, or on those in this folder."""
        if heard not in self.bases:
            base = load_base()
            vae = VAE(base.model, self.representation).eval()
            vae.load_state_dict(base.weights)
            self.bases[heard] = self._figures(vae, self._sounds(heard))
        return self.bases[heard]

    def found(self, choice: Choice) -> Mapping[str, Any]:
        """Return the figures of a training run: the model as left, with all kept, and the base model."""
        record = self.out / f"{choice.name}.json"
        if not record.exists():
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps(self._found(choice)))
        found: Mapping[str, Any] = json.loads(record.read_text())
        return found

    def _found(self, choice: Choice) -> dict[str, Any]:
        run, corpus = self.out / choice.name, self.corpus(choice.files)
        shutil.rmtree(run, ignore_errors=True)
        terms = () if choice.loss == "default" else ("--loss", choice.loss)
        told = distill("train", corpus, *terms, "--steps", self.steps, "--seed", choice.seed,
                       "--out", run, "--set", "training.pairs=0")  # fmt: skip
        (share,) = re.findall(r"Kept ([\d.]+)% of the training", told)
        names = [each["name"] for each in json.loads((run / "split.json").read_text())["train"]]
        step = -(-len(names) // MOST)
        trained = tuple(corpus / name for name in names[::step])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # that `distill train` took
        result: dict[str, Any] = {"machine": machine(device), "share": float(share) / 100}
        for keep in ("left", "whole") if choice.files == self.most else ("left",):
            if keep == "whole":
                distill("train", "--resume", "--out", run, "--set", "training.keep=1")
            vae, _ = load_model(Run(run))
            result[keep] = {
                "heldout": self._figures(vae, self._sounds((self.heldout,))),
                "trained": self._figures(vae, self._sounds(trained)),
            }
        result["base"] = {"heldout": self.base(self.heldout), "trained": self.base(*trained)}
        shutil.rmtree(run / "checkpoints")
        return result

    def corpus(self, count: int) -> Path:
        """Return a folder of `count` recordings, evenly spaced in the sorted list of all."""
        folder = self.out / f"corpus-{count}"
        if not folder.exists():
            paths = audio_below(self.train)
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for index in range(min(count, len(paths))):
                path = paths[index * len(paths) // min(count, len(paths))]
                shutil.copy(path, part / path.name)
            part.replace(folder)
        return folder

    def _sounds(self, heard: Sequence[Path]) -> Sounds:
        paths = [each for path in heard for each in (audio_below(path) if path.is_dir() else [path])]
        return read_sounds(paths, self.representation.sample_rate)

    def _figures(self, vae: VAE, sounds: Sounds) -> dict[str, float | None]:
        found = measure(
            lambda waveform: reconstruct(vae, self.representation, waveform),
            sounds,
            self.representation.sample_rate,
        )
        return figures(found)


def distill(*arguments: object) -> str:
    """Run the command line on one thread and return its output."""
    command = [sys.executable, "-m", "distill", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def distributions(loss: str) -> set[str]:
    """Return the distributions of the terms of a loss."""
    from distill import Registry

    return set() if loss == "default" else {term.distribution for term in Registry().choose(loss)}


def terms_table(
    found: Mapping[Choice, Mapping[str, Any]], losses: Sequence[str], base: Mapping[str, float | None]
) -> str:
    """Format the held-out figures of models with all kept, for the largest number of files."""
    files = max(choice.files for choice in found)
    rows = [["base model", *(cell([base[name]]) for name in MEASURES), ""]]
    for loss in losses:
        results = [found[choice] for choice in found if (choice.files, choice.loss) == (files, loss)]
        cells = [cell([each["whole"]["heldout"][name] for each in results]) for name in MEASURES]
        rows.append([named(loss), *cells, shares(results)])
    return table(["loss", *MEASURES, "kept by default"], rows)


def minute_table(found: Mapping[Choice, Mapping[str, Any]]) -> str:
    """Format the differences between the models as left and the base model."""
    rows = []
    for files, loss in dict.fromkeys((choice.files, choice.loss) for choice in found):
        results = [found[choice] for choice in found if (choice.files, choice.loss) == (files, loss)]
        cells = []
        for which, name in product(("heldout", "trained"), DIFFERENCES):
            pairs = [(each["left"][which][name], each["base"][which][name]) for each in results]
            cells.append(cell([a - b for a, b in pairs if None not in (a, b)], signed=True))
        rows.append([f"{files}", named(loss), shares(results), *cells])
    head = ["files", "loss", "kept", *(f"{name}, held out" for name in DIFFERENCES)]
    return table([*head, *(f"{name}, trained" for name in DIFFERENCES)], rows)


def named(loss: str) -> str:
    """Format the name of a loss."""
    return f"`{loss}`" if loss != "default" else "without `--loss`"


def shares(results: Sequence[Mapping[str, Any]]) -> str:
    """Format the shares of the training that are kept."""
    values = [each["share"] for each in results]
    low, high = min(values), max(values)
    return f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"


if __name__ == "__main__":
    main()
