"""What the shell completes: terms, balancers, addresses of options, devices."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from distill.plugin.registered import Balancer, Term


def terms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return the terms that the last name of a comma-separated list can become, the others left out."""
    from distill.plugin.registry import Registry

    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{name}", help=term.spec.summary)
        for term in Registry().terms()
        if not set(term.names) & set(before.split(","))
        for name in term.names
        if name.startswith(last)
    ]


def balancers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return the balancers that a name can become."""
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
    """Return the terms and the balancers that a name can become."""
    return [*terms(context, parameter, incomplete), *balancers(context, parameter, incomplete)]


def addresses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return the addresses of options: of a recipe with `--loss` and `--balance`, or of the term NAME.

    Nothing is completed where the terms cannot be found.
    """
    from distill.config import describe
    from distill.errors import DistillError
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe

    given = context.params
    try:
        if "name" in given:
            # Before the value of an option, click has not sorted the arguments yet.
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
    """Return the devices that a name can become."""
    known = ("auto", "cpu", "cuda", "mps")
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
