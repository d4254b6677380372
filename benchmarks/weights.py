"""Check that training with the weights found by `distill losses profile` results in the wanted shares.

Run: python benchmarks/weights.py [CORPUS] [--loss LIST] [--target TERM=SHARE,...] [--steps 300] [--more 200]
     [--write PAGE]

The script trains, profiles, continues for `--more` steps with the weights found, and profiles again. It
prints a Markdown table, and exits with status 1 if a share differs by more than 20 % from the wanted one.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from page import machine, table, write_section

_TOLERANCE = 0.2


@click.command()
@click.argument("corpus", type=click.Path(exists=True), required=False)
@click.option("--loss", default="stft,recon,kl", show_default=True)
@click.option("--target", default="stft=0.6,recon=0.3,kl=0.1", show_default=True)
@click.option("--steps", default=300, show_default=True)
@click.option("--more", default=200, show_default=True)
@click.option("--write", type=click.Path(path_type=Path), help="Page to write the table to.")
def main(corpus: str | None, *, loss: str, target: str, steps: int, more: int, write: Path | None) -> None:
    """Train, profile, continue, profile again, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        recordings = [corpus] if corpus else []  # or the demo corpus
        unheard = ("--set", "training.pairs=0")
        distill("train", *recordings, "--loss", loss, "--steps", str(steps), "--out", run, *unheard)
        before = json.loads(distill("losses", "profile", "--run", run, "--target", target, "--json"))
        found = [f"{address}={value:g}" for address, value in before["target"]["weights"].items()]
        settings = [word for text in found for word in ("--set", text)]
        distill("train", "--resume", "--out", run, "--steps", str(steps + more), *settings)
        after = json.loads(distill("losses", "profile", "--run", run, "--json"))
    wanted = before["target"]["wanted"]
    first, last = by_name(before), by_name(after)
    reached = {name: last[name]["share"] / sum(last[each]["share"] for each in wanted) for name in wanted}
    rows = [
        [
            f"`{name}`",
            f"{first[name]['weight']:.3g}",
            f"{before['target']['now'][name]:.1%}",
            f"{share:.0%}",
            f"{last[name]['weight']:.3g}",
            f"{reached[name]:.1%}",
            f"{reached[name] / share - 1:+.0%}",
        ]
        for name, share in wanted.items()
    ]
    head = ["term", "weight", f"share after {steps} steps", "wanted", "weight found",
            f"share {more} steps later", "off"]  # fmt: skip
    text = table(head, rows)
    print(text)
    if write:
        words = [*(["CORPUS"] if corpus else []), "--loss", loss, "--target", target,
                 "--steps", str(steps), "--more", str(more)]  # fmt: skip
        command = shlex.join(["python", "benchmarks/weights.py", *words])
        write_section(write, "weights", f"`{command}`, on {machine(torch.device('cpu'))}:\n\n{text}")
    if any(abs(reached[name] / share - 1) > _TOLERANCE for name, share in wanted.items()):
        sys.exit(f"A share is more than {_TOLERANCE:.0%} off the one wanted.")


def distill(*arguments: str) -> str:
    """Run the command line and return its output."""
    command = [sys.executable, "-m", "distill", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def by_name(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the measurements of each term by name."""
    return {term["name"]: term for term in record["terms"]}


if __name__ == "__main__":
    main()
