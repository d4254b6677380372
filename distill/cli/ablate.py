"""`distill ablate`: train runs that differ in a term or an option, and say what each difference is worth."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from distill.cli import completion
from distill.cli.options import Place, balance_option, loss_option, no_plugins_option
from distill.cli.streams import lasting_output
from distill.config.settings import DEFAULT_MINUTES
from distill.errors import printable

_SOME_FAILED = 1

_set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.addresses,
    help="Set an option of all runs; with A,B,C one run for each value; with --search LOW..HIGH, a range.",
)


@click.command(short_help="Measure what each term or option is worth.")
@click.argument("corpus", required=False, shell_complete=completion.paths)
@loss_option
@click.option("--each", is_flag=True, help="Leave each term out in turn.")
@_set_option
@balance_option
@click.option("--config", type=Place(), help="Recipe to start from.")
@click.option(
    "--seeds", default="3", show_default=True, metavar="N or A,B,C", help="Number of seeds, or the seeds."
)
@click.option("--steps", type=int, help="Number of training steps of each run.")
@click.option(
    "--minutes", type=float, help=f"Minutes to train each run ({DEFAULT_MINUTES:g} if neither is given)."
)
@click.option("--device", shell_complete=completion.devices, help="auto, cpu, cuda or mps.")
@click.option(
    "--on",
    metavar="RECORDINGS",
    shell_complete=completion.paths,
    help="Measure these recordings, instead of those that each run holds out.",
)
@click.option("--out", type=Place(), help="Folder to write; by default one in runs/.")
@click.option("--jobs", type=click.IntRange(1, 1000), default=1, show_default=True, help="Runs side by side.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and train nothing.")
@click.option("--search", type=click.IntRange(1, 100_000), metavar="N", help="Search the ranges in N trials.")
@click.option(
    "--measure",
    metavar="NAME",
    shell_complete=completion.measures,
    help="Measure that --search improves, such as mel (the default).",
)
@click.option(
    "--cluster",
    type=click.Choice(["slurm", "local"]),
    help="Train each run as a job of a cluster; local rehearses that here.",
)
@click.option(
    "--slurm", "parameters", multiple=True, metavar="KEY=VALUE", help="Parameter of the jobs: partition=gpu."
)
@no_plugins_option
def ablate(corpus: str | None, *, dry_run: bool, search: int | None, **options: Any) -> None:  # noqa: ANN401  # the options above
    """Measure what each loss term, or an option, is worth, on the recordings in the folder CORPUS.

    With --each, the whole list of terms is trained, and the list less each term; the weights of the remaining
    terms stay as they are. --set PATH=A,B,C trains every combination of values, of which the first is the
    reference. All runs have the same length, recordings and seeds. At the end, a table says by how much each
    measure of the held-out recordings changes, and which of the differences are larger than chance.

    After Ctrl-C or a kill, the same command continues where it stopped. Seeds and values may be added.

    With --search, the values in ranges (--set loss.stft.weight=0.1..10) are searched by Optuna. The range of
    positive numbers is searched by their logarithm.
    """
    from distill.training.interruption import Signals

    if options["measure"] is not None and search is None:
        raise click.UsageError("--measure needs --search.")
    options["slurm"] = _parameters(options.pop("parameters"))
    from distill.system.stopping import INTERRUPTED

    try:
        with lasting_output(), Signals():
            if search is None:
                failed = _ablated(corpus, options, dry_run=dry_run)
            else:
                failed = _searched(corpus, options, trials=search, dry_run=dry_run)
    except KeyboardInterrupt:
        with suppress(OSError):
            click.echo("Interrupted, and saved. The same command goes on.", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(_SOME_FAILED)


def _ablated(corpus: str | None, options: dict[str, Any], *, dry_run: bool) -> Mapping[str, str]:
    from rich.console import Console

    from distill.ablation.ablate import carry_out, plan_ablation
    from distill.ablation.choices import parse_choices
    from distill.ablation.execution import Execution
    from distill.cli.ablating import AblationDisplay, say_failures, show_plan
    from distill.errors import ConfigError
    from distill.plugin.registry import Registry

    choices = parse_choices(options.pop("assignments"))
    if choices.ranges:
        raise ConfigError(
            "a range is searched",
            culprit=", ".join(address for address, _ in choices.ranges),
            remedy="Add --search N for N trials, or pass values: A,B,C",
        )
    del options["measure"]
    console = Console()
    display = AblationDisplay(console)
    how = {name: options.pop(name) for name in ("jobs", "cluster", "slurm")}
    execution = Execution.of(on_progress=display.show, **how)
    planned = plan_ablation(
        corpus,
        recipe=options.pop("config"),
        options=choices.fixed,
        grid=dict(choices.grid),
        registry=Registry(),
        **options,
    )
    show_plan(console, planned, jobs=execution.jobs)
    if dry_run:
        return {}
    with display:
        result = carry_out(planned, execution)
    click.echo(f"\n{result}")
    say_failures(result.failed, "The same command tries again")
    _say_files(result.folder, result.page)
    return result.failed


def _searched(
    corpus: str | None, options: dict[str, Any], *, trials: int, dry_run: bool
) -> Mapping[str, str]:
    from rich.console import Console

    from distill.ablation.choices import parse_choices
    from distill.ablation.search import search_weights
    from distill.cli.ablating import AblationDisplay, say_failures
    from distill.plugin.registry import Registry

    if options.pop("each"):
        raise click.UsageError("--each leaves terms out, and --search searches weights: use one of them.")
    if dry_run:
        raise click.UsageError("--dry-run prints a plan, and a search decides as it goes.")
    choices = parse_choices(options.pop("assignments"))
    measure = options.pop("measure") or "mel"
    with AblationDisplay(Console()) as display:
        result = search_weights(
            corpus,
            ranges={address: (each.low, each.high) for address, each in choices.ranges},
            grid=dict(choices.grid),
            options=choices.fixed,
            trials=trials,
            measure=measure,
            recipe=options.pop("config"),
            registry=Registry(),
            on_progress=display.show,
            **options,
        )
    click.echo(f"\n{result}")
    say_failures(result.failed, "A search does not try them again")
    if result.recipe is not None:
        recipe = printable(shlex.quote(str(result.recipe)))
        click.echo(f"The best recipe: distill train --config {recipe}")
    return result.failed


def _say_files(folder: Path, page: Path | None) -> None:
    click.echo(printable(f"Written: {folder / 'ablation.json'}, {folder / 'ablation.csv'}"))
    if page is not None:
        click.echo(f"Look at the runs beside each other, and listen: {printable(page)}")


def _parameters(words: tuple[str, ...]) -> dict[str, Any]:
    from distill.config import parse_assignment

    wrong = [repr(word) for word in words if not word.partition("=")[1] or not word.partition("=")[0].strip()]
    if wrong:
        raise click.UsageError(f"--slurm takes KEY=VALUE, such as partition=gpu: got {', '.join(wrong)}.")
    return dict(map(parse_assignment, words))
