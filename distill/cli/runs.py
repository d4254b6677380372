"""`distill runs`: list training runs."""

import json
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli.options import Place
from distill.cli.streams import warn

if TYPE_CHECKING:
    from distill.reporting.listing import Listed

_NUMBERS = {"steps", "time", "loss"}
"""The heads of the columns that are aligned at the right."""

_GAP = "  "
_LONGEST_NAME = 40
_NARROWEST = 40
"""In columns: a longer name has a line of its own, and text is wrapped to no fewer."""

_ENDLESS = 2**16
"""The columns of what is no terminal, where lines are for programs such as grep."""

_MOST = 5
"""How many runs that cannot be read are named with the reason."""

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

    A run is running, finished, interrupted or failed. The loss is that of the last measurement on
    held-out recordings, with the weights at the end of training, so that it is comparable between runs of the
    same terms and weights only. It is of the whole training: "25% kept" says that the saved model has a
    quarter of it, and "0% kept" that it is still the model that the training began with, whose loss is
    not known. A loss with a * is without terms that change nothing, such as kl while the encoder is kept.
    """
    from distill.config.words import folder_in_words
    from distill.errors import printable
    from distill.reporting.listing import list_runs, sorted_runs

    unreadable: dict[Path, OSError] = {}
    listed = sorted_runs(list_runs(folder, on_unreadable=unreadable.__setitem__), order)
    if unreadable:
        warn(_left_out(unreadable))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in listed], indent=1))
        return
    if not listed:
        which = " that may be read" if unreadable else ""
        click.echo(f"There are no runs in {folder_in_words(folder)}{which}.")
        return
    if damaged := [each for each in listed if each.problem]:
        warn(_damaged(damaged))
    columns, _ = shutil.get_terminal_size((_ENDLESS, 0))
    for line in _lines(listed, columns):
        click.echo(line)
    still = dict.fromkeys(name for each in listed if each.is_without_still_terms for name in each.still)
    if still:
        names = ", ".join(map(printable, still))
        click.echo(f"* without terms that change nothing, since their gradient is 0: {names}")


def _left_out(folders: dict[Path, OSError]) -> str:
    """Return the sentences about folders that cannot be read, with the remedy or the reason."""
    from distill.config.words import counted
    from distill.errors import printable, shortened

    it, holds = ("it", "holds") if len(folders) == 1 else ("they", "hold")
    left_out = f"be read, and runs that {it} {holds} are left out:"
    number, paths = counted(len(folders), "folder"), sorted(folders)
    if all(isinstance(error, PermissionError) for error in folders.values()):
        return (
            f"{number} may not {left_out} {shortened([*map(printable, paths)])}\n"
            "To list them, make sure that you may read and search these folders (chmod u+rx), or ask their "
            "owner."
        )
    reasons = [printable(f"{path} ({folders[path].strerror})") for path in paths]
    return f"{number} cannot {left_out} {shortened(reasons)}"


def _damaged(listed: "list[Listed]") -> str:
    """Return the lines about runs of which something cannot be read, each with the reason."""
    from distill.config.words import counted

    shown = [f"  {each.problem.partition(chr(10))[0]}" for each in listed[:_MOST]]
    more = [f"  and {len(listed) - _MOST} more: distill runs --json"] if len(listed) > _MOST else []
    return "\n".join([f"{counted(len(listed), 'run')} cannot be read as a whole:", *shown, *more])


def _lines(listed: "list[Listed]", columns: int) -> Iterator[str]:
    """Yield the lines of a table of so many columns. Long names, and terms if necessary, have their own."""
    from rich.cells import cell_len, set_cell_size

    heads = ("run", "state", "steps", "time", "loss", "last change", "terms")
    rows = [heads, *(each.cells() for each in listed)]
    *widths, terms = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    others = sum(widths[1:]) + len(_GAP) * len(widths[1:])
    beside = min(widths[0], _LONGEST_NAME) + others + len(_GAP) + terms <= columns
    room = min(columns - others - (len(_GAP) + terms) * beside, _LONGEST_NAME)
    widths[0] = max((each for each in (cell_len(row[0]) for row in rows) if each <= room), default=0)
    for name, *cells, last in rows:
        alone = cell_len(name) > widths[0]
        if alone:
            yield name
        padded = [
            " " * (width - cell_len(cell)) + cell if head in _NUMBERS else set_cell_size(cell, width)
            for head, cell, width in zip(heads, ["" if alone else name, *cells], widths, strict=False)
        ]
        yield _GAP.join([*padded, *([last] if beside else [])]).rstrip()
        if not beside:
            wide = max(columns, _NARROWEST)
            names = ", ".join(last.split(","))
            yield from textwrap.wrap(names, wide, initial_indent=_GAP, subsequent_indent=_GAP)
