"""`distill runs`: list training runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli.options import Place

if TYPE_CHECKING:
    from distill.reporting.listing import Listed

_SORTS = ("newest", "name", "state", "steps", "time", "loss")


@click.command(short_help="List training runs.")
@click.argument("folder", type=Place(), default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(_SORTS),
    default="newest",
    show_default=True,
    help="Order of the list.",
)
def runs(folder: Path, *, as_json: bool, order: str) -> None:
    """List the runs in FOLDER, by default runs/, and in its subfolders.

    A run is running, finished, interrupted or failed. The loss is that of the last measurement on held-out
    recordings, with the weights of the end, so that it is comparable between runs of the same terms and
    weights only. A loss with a * is without terms that change nothing, such as kl while the encoder is kept.
    """
    from distill.errors import printable
    from distill.reporting.listing import list_runs, sorted_runs

    listed = sorted_runs(list_runs(folder), order)
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in listed], indent=1))
        return
    if not listed:
        click.echo(f"There are no runs in {folder}.")
        return
    for line in _lines(listed):
        click.echo(line)
    still = dict.fromkeys(name for each in listed if each.moving is not None for name in each.still)
    if still:
        names = ", ".join(map(printable, still))
        click.echo(f"* without terms that change nothing, since their gradient is 0: {names}")


def _lines(listed: "list[Listed]") -> list[str]:
    heads = ("run", "state", "steps", "time", "loss", "last change", "terms")
    rows = [heads, *(each.cells() for each in listed)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    right = {2, 3, 4}
    return [
        "  ".join(
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
