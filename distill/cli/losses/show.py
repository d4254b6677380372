"""`distill losses show`: show the options of a loss term or a balancer."""

from typing import TYPE_CHECKING, Any

import click

from distill.cli import completion
from distill.cli.losses.printing import names, print_indented, print_json, record
from distill.cli.options import json_option, no_plugins_option

if TYPE_CHECKING:
    from distill.config import Option
    from distill.plugin.registered import Balancer, Term
    from distill.plugin.registry import Registry


@click.command()
@click.argument("name", shell_complete=completion.terms_and_balancers)
@json_option
@no_plugins_option
def show(name: str, *, as_json: bool) -> None:
    """Show the options of the loss term or balancer NAME.

    Each has an address for --set and for recipes, a default, bounds and a help text.
    """
    from distill.config import describe  # slow, and not needed for `distill --help`
    from distill.plugin.registry import Registry  # as above

    found = _find(Registry(), name)
    options = [_option_record(found, option) for option in describe(found.spec.config)]
    if as_json:
        print_json(record(found) | {"options": options})
        return
    click.echo(f"{click.style(names(found), bold=True)}  {found.origin}")
    print_indented(found.spec.summary)
    for option in options:
        click.echo(f"\n{click.style(option['address'], bold=True)}{_default(option)}")
        kind = ", ".join(filter(None, (option["type"], option["bounds"])))
        print_indented(": ".join(filter(None, (kind, option["help"]))))


def _find(registry: "Registry", name: str) -> "Term | Balancer":
    """Return the term with this name, or the balancer if there is no such term."""
    from distill.errors import TermError  # as above

    try:
        return registry.choose([name])[0]
    except TermError:
        if name in {balancer.name for balancer in registry.balancers()}:
            return registry.choose_balancer(name)
        raise


def _option_record(found: "Term | Balancer", option: "Option") -> dict[str, Any]:
    return {
        "address": f"{found.section}.{found.name}.{option.name}",
        "type": option.type,
        "required": option.required,
        "default": option.default,
        "bounds": option.bounds,
        "help": option.help,
    }


def _default(option: dict[str, Any]) -> str:
    from distill.config.words import show as as_toml  # as above

    if option["required"]:
        return " (required)"
    return " (unset)" if option["default"] is None else f" = {as_toml(option['default'])}"
