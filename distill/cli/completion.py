"""Shell completion of terms, addresses of options, paths, checkpoints, axes, measures and devices."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from distill.cli.stdout import foreign_output

if TYPE_CHECKING:
    from distill.plugin.registered import Balancer, Term
    from distill.storage.run import Run


@foreign_output()
def terms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the last name in a comma-separated list of terms, without listed terms."""
    return _terms(incomplete, "")


@foreign_output()
def shares(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the last name in a comma-separated list of `TERM=SHARE`."""
    return _terms(incomplete, "=")


def _terms(incomplete: str, sign: str) -> list[CompletionItem]:
    from distill.plugin.registry import Registry

    before, comma, last = incomplete.rpartition(",")
    listed = {part.partition("=")[0] for part in before.split(",")}
    return [
        CompletionItem(f"{before}{comma}{name}{sign}", help=term.spec.summary)
        for term in Registry().terms()
        if not set(term.names) & listed
        for name in term.names
        if name.startswith(last)
    ]


@foreign_output()
def balancers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of a balancer's name."""
    from distill.plugin.registry import Registry

    found = Registry().balancers()
    return [
        CompletionItem(each.name, help=each.spec.summary)
        for each in found
        if each.name.startswith(incomplete)
    ]


def terms_and_balancers(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return completions of the name of a term or balancer."""
    return [*terms(context, parameter, incomplete), *balancers(context, parameter, incomplete)]


@foreign_output()
def addresses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the address of an option: of the term NAME, or of a recipe with the given loss.

    There are none if a term cannot be found.
    """
    from distill.config import describe
    from distill.errors import DistillError
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe

    given = context.params
    try:
        if "name" in given:
            # While it completes an option's value, click may not have parsed the arguments yet.
            found: Iterable[Term | Balancer] = Registry().choose([given["name"] or "".join(context.args[:1])])
            tables = {}
        else:
            draft = read_recipe(
                {}, Registry(), loss=given.get("loss"), balance=given.get("balance"), assignments=()
            )
            found = [*draft.terms, *([draft.balancer] if draft.balancer else [])]
            tables = {each.name: each.help for each in describe(type(draft.recipe)) if "." in each.name}
        for each in found:
            for option in describe(each.spec.config):
                tables[f"{each.section}.{each.name}.{option.name}"] = option.help
    except DistillError:
        return []
    return [
        CompletionItem(f"{name}=", help=text) for name, text in tables.items() if name.startswith(incomplete)
    ]


def devices(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of a device's name."""
    known = ("auto", "cpu", "cuda", "mps")
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def paths(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Let the shell complete a path, for an argument that may also be a URL or a name."""
    return [CompletionItem(incomplete, type="file")]


def checkpoints(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of a checkpoint: best, last, or a step of the run, if it is given before."""
    from distill.errors import DistillError
    from distill.storage.checkpoint_files import checkpoint_paths

    run = _run(context)
    try:
        steps = [] if run is None else [*checkpoint_paths(run.checkpoints)]
    except DistillError:
        steps = []
    return [
        CompletionItem(name) for name in ("best", "last", *map(str, steps)) if name.startswith(incomplete)
    ]


@foreign_output()
def axes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the name of an axis, as far as the axes of the run have been measured."""
    from distill.controls.stored import stored_axes

    run = _run(context)
    found = {} if run is None else stored_axes(run)
    return [
        CompletionItem(f"{name}=", help=text)
        for name, text in found.items()
        if name.startswith(incomplete) and " " not in name  # bash would insert two words
    ]


def measures(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of a measure that `distill ablate --search` improves."""
    from distill.ablation.measures import MEASURES

    return [CompletionItem(name) for name in MEASURES if name.startswith(incomplete)]


def columns(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the last name in a comma-separated list of measures to show."""
    from distill.evaluation.columns import COLUMNS

    before, comma, last = incomplete.rpartition(",")
    names = ("all", *COLUMNS) if not comma else tuple(COLUMNS)
    listed = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in names
        if name.startswith(last) and name not in listed
    ]


def _run(context: click.Context) -> "Run | None":
    """Return the run that the command is about, if it is given before the word to complete."""
    from distill.storage.run import Run

    # While it completes an option's value, click may not have parsed the arguments yet.
    first = context.params.get("run") or context.params.get("out") or "".join(context.args[:1])
    return Run(Path(first)) if first else None
