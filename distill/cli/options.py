"""Options shared by several commands."""

import math
import os
import sys
from pathlib import Path
from typing import Any

import click

from distill.arguments import NO_URL, is_url
from distill.cli import completion
from distill.cli.stdout import reserve_output
from distill.config.settings import MOST_REFINEMENTS
from distill.errors import printable


class Number(click.FloatRange):
    """A range of numbers. NaN, which click takes for a member of every range, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  # as click has it
        """Return the number, after checking it."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Place(click.Path):
    """A path. Empty text, such as an unset variable of a shell, is none, and not the current folder.

    Nor is a URL, of which `Path` would make the path of a folder named `https:`.
    """

    def __init__(self) -> None:
        # What may not be read is told by what reads it, with a remedy.
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # as click has it
        """Return the path, after checking that it is neither empty nor a URL."""
        if value == "":
            self.fail("The path is empty. Pass . for the current folder.", param, ctx)
        if isinstance(value, str) and is_url(value):
            self.fail(f"{printable(value)} is a URL. {NO_URL}", param, ctx)
        return super().convert(value, param, ctx)


loss_option = click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms, comma-separated, such as stft,recon,kl. See `distill losses`.",
)

balance_option = click.option(
    "--balance",
    shell_complete=completion.balancers,
    help="Balancer: with gradient, weights are shares of the gradient.",
)

set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.addresses,
    help="Set an option.",
)

refine_option = click.option(
    "--refine",
    "refinements",
    type=click.IntRange(0, MOST_REFINEMENTS),
    default=0,
    show_default=True,
    help="Optimization steps that lower the spectral distance, but make tones and level less accurate.",
)

checkpoint_option = click.option(
    "--checkpoint",
    metavar="CHECKPOINT",
    shell_complete=completion.checkpoints,
    help="Use a checkpoint of the run: best (by held-out loss), last, or its step.",
)

overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing files, which are an error otherwise.",
)


def _reserve_output(context: click.Context, _: click.Parameter, value: bool) -> bool:  # noqa: FBT001  # as click calls it
    if value:
        reserve_output(context)
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_reserve_output,
    help="Print JSON for other programs to read.",
)


def _leave_plugins_out(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  # as click calls it
    from distill.plugin.selection import no_plugins  # slow, and not needed for `distill --help`

    if value:
        context.with_resource(no_plugins())


no_plugins_option = click.option(
    "--no-plugins",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_leave_plugins_out,
    help="Load no installed plugins, only built-in terms.",
)


def agrees_to_fetch(url: str) -> bool:
    """Return whether the user, asked on a terminal, agrees to a URL that a recipe names."""
    return _on_a_terminal() and click.confirm(
        f"The recipe names a corpus at {url!r}. Fetch it from there?", err=True
    )


def _on_a_terminal() -> bool:
    launched = "LOCAL_RANK" in os.environ  # by torchrun, as one of several processes
    return not launched and sys.stdin.isatty() and sys.stderr.isatty()
