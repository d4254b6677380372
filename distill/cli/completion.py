"""Shell completion of terms, balancers, addresses of options, and devices."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from distill.cli.stdout import foreign_output

if TYPE_CHECKING:
    from distill.plugin.registered import Balancer, Term


@foreign_output()
def terms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # as click has it
    """Return completions of the last name in a comma-separated list of terms, without listed terms."""
    from distill.plugin.registry import Registry

    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{name}", help=term.spec.summary)
        for term in Registry().terms()
        if not set(term.names) & set(before.split(","))
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
