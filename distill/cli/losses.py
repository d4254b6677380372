"""`distill losses`: which loss terms are installed, what is broken, and what a term's options are."""

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distill.config import Option
    from distill.registry import Broken, Term

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")


@click.group(invoke_without_command=True)
@_json_option
@click.pass_context
def losses(context: click.Context, *, as_json: bool) -> None:
    """List the installed loss terms, where they come from, and what is broken."""
    from distill.registry import Registry  # `distill --help` does without

    if context.invoked_subcommand is not None:
        # `losses --json show NAME` is `losses show NAME --json`.
        context.default_map = {context.invoked_subcommand: {"as_json": as_json}}
        return
    registry = Registry()
    terms, broken = registry.terms(), registry.broken()
    if as_json:
        _print_json({"terms": [*map(_term_record, terms)], "broken": [*map(_broken_record, broken)]})
        return
    width = max(len(_names(term)) for term in terms)
    for term in terms:
        click.echo(f"{click.style(_names(term).ljust(width), bold=True)}  {term.origin}")
        _print_indented(term.spec.summary)
    if broken:
        click.secho("\nPlugins that cannot be loaded", bold=True, fg="red")
    for plugin in broken:
        click.echo(f"{plugin.origin}, entry point '{plugin.entry_point}'")
        _print_indented(plugin.cause)
    click.echo("\n'distill losses show NAME' lists the options of a term.")


@losses.command()
@click.argument("name")
@_json_option
def show(name: str, *, as_json: bool) -> None:
    """Show the options of the loss term NAME.

    Each has an address, for --set and for a recipe, a default, bounds and a help text.
    """
    from distill.config import describe  # as above
    from distill.registry import Registry  # as above

    (term,) = Registry().choose([name])
    options = [_option_record(term, option) for option in describe(term.spec.config)]
    if as_json:
        _print_json(_term_record(term) | {"options": options})
        return
    click.echo(f"{click.style(_names(term), bold=True)}  {term.origin}")
    _print_indented(term.spec.summary)
    for option in options:
        click.echo(f"\n{click.style(option['address'], bold=True)}{_default(option)}")
        kind = ", ".join(filter(None, (option["type"], option["bounds"])))
        _print_indented(": ".join(filter(None, (kind, option["help"]))))


def _term_record(term: "Term") -> dict[str, Any]:
    return {
        "name": term.name,
        "aliases": list(term.spec.aliases),
        "distribution": term.distribution,
        "version": term.version,
        "summary": term.spec.summary,
    }


def _broken_record(plugin: "Broken") -> dict[str, str]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.entry_point,
        "cause": plugin.cause,
    }


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


def _names(term: "Term") -> str:
    return ", ".join(term.names)


def _print_json(data: dict[str, Any]) -> None:
    click.echo(json.dumps(data, indent=2))


def _print_indented(text: str) -> None:
    width = min(shutil.get_terminal_size().columns, 100)
    indent = " " * 4
    click.echo(
        textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    )
