"""`distill train`: train a VAE on a folder of recordings with the chosen loss terms."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distill.cli import completion
from distill.cli.options import corpus_path, no_plugins_option
from distill.settings import DEFAULT_MINUTES

if TYPE_CHECKING:
    from distill.recipe import Draft
    from distill.storage.run import Run


@click.command(short_help="Train a model on a folder of recordings.")
@click.argument("corpus", required=False)
@click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms, comma-separated: stft,recon,kl. See `distill losses`.",
)
@click.option(
    "--balance",
    shell_complete=completion.balancers,
    help="Balancer that makes weights shares of the gradient: gradient.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.addresses,
    help="Set an option.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Start from a recipe.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write; by default below runs/.")
@click.option("--steps", type=int, help="Train for so many steps.")
@click.option(
    "--minutes", type=float, help=f"Train for so many minutes ({DEFAULT_MINUTES:g} if neither is given)."
)
@click.option("--seed", type=int, help="Seed of weights, clips and noise.")
@click.option("--device", shell_complete=completion.devices, help="auto, cpu, cuda or mps.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out where it stopped.")
@no_plugins_option
def train(corpus: str | None, **options: Any) -> None:  # noqa: ANN401  # the options above
    """Train a VAE on the recordings in the folder CORPUS, or without it on a synthesised demo corpus.

    CORPUS may be what `distill shard` wrote, too, as a folder or a URL.

    The run folder then holds the recipe, the metrics, the model, and pairs of held-out originals and
    reconstructions to listen to.
    """
    from distill.storage.run import Run, free_run

    out: Path | None = options["out"]
    if options["resume"]:
        if out is None:
            raise click.UsageError("--resume needs --out with the run folder to go on with.")
        run = Run(out)
        run.require()
    else:
        run = Run(out) if out else free_run(Path("runs"), Path(corpus).resolve().stem if corpus else "demo")
        run.require_new()
    draft = _draft(corpus, options, run)

    from distill.cli.training import carry_out

    carry_out(draft, run, resume=options["resume"])


def _draft(corpus: str | None, options: Mapping[str, Any], run: "Run") -> "Draft":
    """Read the recipe of a new run, or that of a run to go on with, of which little may change."""
    from distill.config import load_toml, parse_assignment
    from distill.errors import ConfigError
    from distill.plugin.registry import Registry
    from distill.recipe import differences, read_recipe

    registry = Registry()
    base = run.read_recipe() if options["resume"] else {}
    tree = load_toml(options["config"]) if options["config"] else deepcopy(base)
    assignments: list[tuple[str, Any]] = []
    if corpus is not None:
        assignments.append(("corpus.path", corpus_path(corpus)))
    if options["steps"] is not None or options["minutes"] is not None:
        # Whatever the recipe says of the other one no longer holds.
        training = tree.get("training")
        for name in ("steps", "minutes"):
            if isinstance(training, dict):
                training.pop(name, None)
    given = [name for name in ("steps", "minutes", "seed", "device") if options[name] is not None]
    assignments += [(f"training.{name}", options[name]) for name in given]
    assignments += map(parse_assignment, options["assignments"])
    draft = read_recipe(
        tree, registry, loss=options["loss"], balance=options["balance"], assignments=assignments
    )
    if options["resume"]:
        may_change = {f"training.{name}" for name in ("steps", "minutes", "device", "keep")}
        may_change |= {f"loss.{term.name}.{term.spec.config.weight_option}" for term in draft.terms}
        changed = [
            path
            for path in differences(draft.recipe, read_recipe(base, registry).recipe)
            if path not in may_change
        ]
        if changed:
            raise ConfigError(
                f"a resumed run keeps its recipe, and this differs: {', '.join(changed)}",
                culprit=str(run.folder),
                remedy="Leave it out, or start a new run. "
                "The steps, minutes, device, weights and training.keep may change.",
            )
    return draft
