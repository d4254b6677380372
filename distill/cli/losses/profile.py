"""`distill losses profile`: measure each term's time and gradient, and find weights for wanted shares."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from distill.cli import completion
from distill.cli.losses.printing import print_json
from distill.cli.losses.report import print_record, record_of
from distill.cli.losses.target import parse_target
from distill.cli.options import Place, json_option, no_plugins_option, set_option

if TYPE_CHECKING:
    from distill.plugin.registry import Registry
    from distill.recipe import Draft
    from distill.storage.run import Run
    from distill.training.profiling import Profile


@click.command(short_help="Measure times and gradients of loss terms.")
@click.argument("corpus", required=False, shell_complete=completion.paths)
@click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms, comma-separated; by default those of the run or of `distill train`.",
)
@click.option("--run", "run_folder", type=Place(), help="Measure with the model of this run.")
@click.option(
    "--target",
    metavar="TERM=SHARE,...",
    shell_complete=completion.shares,
    help="Find the weights that result in these shares.",
)
@set_option
@click.option(
    "--batches",
    type=click.IntRange(1, 100_000),
    default=32,
    show_default=True,
    help="Number of batches to measure.",
)
@json_option
@no_plugins_option
def profile(corpus: str | None, *, target: str | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401  # as above
    """Measure loss terms on clips of CORPUS, drawn as in training.

    The output shows each term's value, its time in milliseconds when computed alone (without sharing views),
    and its share of the gradient at the decoder's output, and the cosine between the gradients of each pair
    of terms. The weights are those at the end of the training. Without --run, the model is the initial model
    of a training run. Without CORPUS, the recordings are those of the run, or the demo corpus.

    --target stft=0.6,recon=0.3,kl=0.1 prints the weights with which the terms have these shares.
    """
    from distill.arguments import require_corpus
    from distill.plugin.registry import Registry
    from distill.storage.run import Run

    run = Run(options["run_folder"]) if options["run_folder"] else None
    draft = _draft(Registry(), run, corpus, options["loss"], options["assignments"])
    require_corpus(draft.recipe.corpus.path)  # before the slow import of torch
    shares = {} if target is None else parse_target(target, draft)
    for warning in draft.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    record = record_of(_measure(draft, run, options["batches"]), draft, shares)
    if as_json:
        print_json(record)
    else:
        print_record(record)


def _draft(
    registry: "Registry", run: "Run | None", corpus: str | None, loss: str | None, assignments: Sequence[str]
) -> "Draft":
    """Return the recipe to measure: that of the run, restricted to the given terms, or a new one."""
    from distill.arguments import corpus_location, is_url
    from distill.config import as_given, given_arguments, parse_assignments
    from distill.errors import ConfigError, UnaskedError
    from distill.recipe import differences, read_recipe

    tree = run.read_recipe() if run else {}
    if loss is not None and isinstance(tree.get("loss"), dict):
        names = {name for term in registry.choose(loss) for name in term.names}
        tree["loss"] = {name: table for name, table in tree["loss"].items() if name in names}
    arguments = {"corpus.path": None if corpus is None else corpus_location(corpus)}
    given = [*given_arguments(arguments), *as_given(parse_assignments(assignments))]
    if run:
        with run.naming_recipe():
            recorded = read_recipe(tree, registry, loss=loss).recipe
    draft = read_recipe(tree, registry, loss=loss, assignments=given)
    path = draft.recipe.corpus.path
    if run and path is not None and is_url(path) and all(each.address != "corpus.path" for each in given):
        remedy = f"If you trust it, pass it yourself: distill losses profile {path} --run ..."
        raise UnaskedError(path, culprit=str(run.folder), remedy=remedy)
    if run:
        changed = differences(draft.recipe, recorded)
        changed = [path for path in changed if path.startswith(("model.", "representation."))]
        if changed:
            raise ConfigError(
                f"the model of a run is measured as it was trained, and this differs: {', '.join(changed)}",
                culprit=str(run.folder),
                remedy="Leave it out, or leave out --run.",
            )
    return draft


def _measure(draft: "Draft", run: "Run | None", batches: int) -> "Profile":
    from rich.console import Console

    from distill.cli.measurements import evaluation_progress
    from distill.training.memory import keep_freed_memory
    from distill.training.profiling import profile_recipe

    keep_freed_memory()
    with evaluation_progress(Console(stderr=True)) as on_progress:
        return profile_recipe(draft, run, batches=batches, on_progress=on_progress)
