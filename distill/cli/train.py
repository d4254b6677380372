"""`distill train`: train a VAE on a folder of recordings with the chosen loss terms."""

import sys
from contextlib import suppress
from typing import Any

import click

from distill.cli import completion
from distill.cli.options import (
    Place,
    agrees_to_fetch,
    balance_option,
    loss_option,
    no_plugins_option,
    set_option,
)
from distill.cli.streams import lasting_output
from distill.config.settings import DEFAULT_MINUTES
from distill.system.stopping import INTERRUPTED


@click.command(short_help="Train a model on a folder of recordings.")
@click.argument("corpus", required=False, shell_complete=completion.paths)
@loss_option
@balance_option
@set_option
@click.option("--config", type=Place(), help="Recipe to start from.")
@click.option("--out", type=Place(), help="Run folder to write; by default a new one in runs/.")
@click.option("--steps", type=int, help="Number of training steps.")
@click.option("--minutes", type=float, help=f"Minutes to train ({DEFAULT_MINUTES:g} if neither is given).")
@click.option("--seed", type=int, help="Seed of weights, clips and noise.")
@click.option("--device", shell_complete=completion.devices, help="auto, cpu, cuda or mps.")
@click.option("--resume", is_flag=True, help="Continue the run in --out from where it stopped.")
@click.option(
    "--from",
    "checkpoint",
    metavar="CHECKPOINT",
    shell_complete=completion.checkpoints,
    help="With --resume: best (by held-out loss), last, or the step of a checkpoint.",
)
@click.option(
    "--accept-changes",
    is_flag=True,
    help="With --resume: continue although recordings or recipe.toml have changed.",
)
@click.option(
    "--repeat-batch",
    is_flag=True,
    help="Train nothing: compute the step again at which the run in --out stopped, and show each term.",
)
@no_plugins_option
def train(corpus: str | None, **options: Any) -> None:  # noqa: ANN401  # the options above
    """Train a VAE on the recordings in the folder CORPUS, by default on a synthesized demo corpus.

    CORPUS may also be the output of `distill shard`, as a folder or URL.

    The results are in the run folder: the recipe, the metrics, the model, and pairs of held-out originals
    and reconstructions to listen to.
    """
    if options["resume"] and options["out"] is None:
        raise click.UsageError("--resume needs --out with the run folder to go on with.")
    if options.pop("repeat_batch"):
        _repeat_batch(corpus, **options)
        return
    of_resumed = {"checkpoint": "--from", "accept_changes": "--accept-changes"}
    needless = [option for name, option in of_resumed.items() if options[name] and not options["resume"]]
    if needless:
        needs = "needs" if len(needless) == 1 else "need"
        raise click.UsageError(f"{' and '.join(needless)} {needs} --resume.")

    from distill.training.interruption import Interrupted, Signals

    try:
        with lasting_output(), Signals():
            _train(corpus, options)
    except Interrupted:  # reported by the display
        sys.exit(INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):  # a prompt turns one into the other
        with suppress(OSError):
            click.echo("Stopped at once. If a run folder was begun, --resume goes on with it.", err=True)
        sys.exit(INTERRUPTED)


def _train(corpus: str | None, options: dict[str, Any]) -> None:
    from distill.errors import UnaskedError

    try:
        _train_once(corpus, dict(options))
    except UnaskedError as error:
        if not agrees_to_fetch(error.url):
            raise
        _train_once(error.url, dict(options))


def _train_once(corpus: str | None, options: dict[str, Any]) -> None:
    from rich.console import Console

    from distill.cli.display import Display
    from distill.config import parse_assignments
    from distill.plugin.registry import Registry
    from distill.training.train import train as train_model

    with Display(Console()) as display:
        train_model(
            corpus,
            recipe=options.pop("config"),
            options=parse_assignments(options.pop("assignments")),
            observer=display,
            on_progress=display.progress,
            registry=Registry(),
            **options,
        )


def _repeat_batch(corpus: str | None, **options: Any) -> None:  # noqa: ANN401  # those of `train`
    out, device = options.pop("out"), options.pop("device")
    if out is None:
        raise click.UsageError("--repeat-batch needs --out with the run folder that keeps the batch.")
    if corpus is not None or any(options.values()):
        raise click.UsageError("--repeat-batch takes the run as it is: pass --out, and --device if need be.")

    from distill.cli.repeating import show_repeated
    from distill.training.repeating import repeat_batch

    show_repeated(repeat_batch(out, device=device))
