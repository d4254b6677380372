"""Draw the result of `distill ablate`, and write it as a table, for `docs/ablation.md`.

Run: python benchmarks/ablation.py FOLDER [--command TEXT] [--out docs/pictures/ablation.png] [--write]

FOLDER holds `ablation.json`. The picture has a panel for each measure: the difference of each variant from
the reference with its 95 % interval, filled where it is larger than chance; worse is to the right. `--write`
writes the table and the command to `docs/ablation.md`. Needs matplotlib.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import torch
from matplotlib import pyplot as plt
from page import machine, table, write_section
from PIL import Image

from distill.ablation.measures import MEASURES

ROOT = Path(__file__).parents[1]
WORSE, PLAIN = "#b3261e", "#1f5fa8"
COLORS = 64


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--command", default="", help="The command that made FOLDER, to be named above the table.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "pictures" / "ablation.png")
@click.option("--write", is_flag=True, help="Write the table to docs/ablation.md.")
def main(folder: Path, *, command: str, out: Path, write: bool) -> None:
    """Draw the picture and print the table."""
    found = json.loads((folder / "ablation.json").read_text())
    names = [variant["name"] for variant in found["variants"][1:]]
    measures = [name for name in MEASURES if any(each["measure"] == name for each in found["effects"])]
    effects = {(each["variant"], each["measure"]): each for each in found["effects"]}
    draw(names, measures, effects, out)
    rows = [[name, *(cell(effects.get((name, measure))) for measure in measures)] for name in names]
    first = next(variant for variant in names if (variant, measures[0]) in effects)
    rows.insert(0, [found["reference"], *(f"{effects[first, m]['reference']:.3f}" for m in measures)])
    heads = [f"{MEASURES[name].head} ({MEASURES[name].better})" for name in measures]
    text = f"`{command}`, on {machine(torch.device('cpu'))}:\n\n{table(['', *heads], rows)}"
    print(text)
    if write:
        write_section(ROOT / "docs" / "ablation.md", "measured", text)


def cell(effect: Mapping[str, Any] | None) -> str:
    """Format a difference with its interval, bold if it is larger than chance."""
    if effect is None:
        return ""
    number = f"{effect['difference']:+.3f}"
    if effect["low"] is None:
        return number
    marked = f"**{number}**" if effect["beyond_chance"] else number
    return f"{marked} ({effect['low']:+.3f}..{effect['high']:+.3f})"


def draw(names: list[str], measures: list[str], effects: Mapping[tuple[str, str], Any], out: Path) -> None:
    """Write the picture."""
    figure, axes = plt.subplots(
        1, len(measures), figsize=(2.1 * len(measures), 0.42 * len(names) + 1.1), sharey=True
    )
    for axis, measure in zip(axes, measures, strict=True):
        higher = MEASURES[measure].better == "higher"
        for place, name in enumerate(names):
            effect = effects.get((name, measure))
            if effect is None:
                continue
            color = WORSE if effect["beyond_chance"] and effect["worse"] else PLAIN
            if effect["low"] is not None:
                axis.plot([effect["low"], effect["high"]], [place, place], color=color, linewidth=1.5)
            face = color if effect["beyond_chance"] else "white"
            axis.plot(effect["difference"], place, "o", color=color, markerfacecolor=face, markersize=6)
        axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        if higher:
            axis.invert_xaxis()
        axis.set_title(MEASURES[measure].head, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.locator_params(axis="x", nbins=4)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].invert_yaxis()
    figure.supxlabel("difference from the whole loss: worse to the right", fontsize=8)
    figure.tight_layout()
    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(COLORS).save(out, optimize=True)


if __name__ == "__main__":
    main()
