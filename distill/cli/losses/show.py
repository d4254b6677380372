"""`distill losses show`: what the options of a loss term are."""

from typing import TYPE_CHECKING, Any

import click

from distill.cli.losses.words import json_option, names, print_indented, print_json, term_record

if TYPE_CHECKING:
    from distill.config import Option
    from distill.registry import Term


@click.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show the options of the loss term NAME.

    Each has an address, for --set and for a recipe, a default, bounds and a help text.
    """
    from distill.config import describe  # `distill --help` does without
    from distill.registry import Registry  # as above

    (term,) = Registry().choose([name])
    options = [_option_record(term, option) for option in describe(term.spec.config)]
    if as_json:
        print_json(term_record(term) | {"options": options})
        return
    click.echo(f"{click.style(names(term), bold=True)}  {term.origin}")
    print_indented(term.spec.summary)
    for option in options:
        click.echo(f"\n{click.style(option['address'], bold=True)}{_default(option)}")
        kind = ", ".join(filter(None, (option["type"], option["bounds"])))
        print_indented(": ".join(filter(None, (kind, option["help"]))))


def _option_record(term: "Term", option: "Option") -> dict[str, Any]:
    return {
        "address": f"loss.{term.name}.{option.name}",
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
