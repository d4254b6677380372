"""`distill losses`: which loss terms are installed and what is broken; below it, one file per command."""

from typing import TYPE_CHECKING

import click

from distill.cli.losses.show import show
from distill.cli.losses.words import json_option, names, print_indented, print_json, term_record

if TYPE_CHECKING:
    from distill.registry import Broken


@click.group(invoke_without_command=True)
@json_option
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
        print_json({"terms": [*map(term_record, terms)], "broken": [*map(_broken_record, broken)]})
        return
    width = max(len(names(term)) for term in terms)
    for term in terms:
        click.echo(f"{click.style(names(term).ljust(width), bold=True)}  {term.origin}")
        print_indented(term.spec.summary)
    if broken:
        click.secho("\nPlugins that cannot be loaded", bold=True, fg="red")
    for plugin in broken:
        click.echo(f"{plugin.origin}, entry point '{plugin.entry_point}'")
        print_indented(plugin.cause)
    click.echo("\n'distill losses show NAME' lists the options of a term.")


def _broken_record(plugin: "Broken") -> dict[str, str]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.entry_point,
        "cause": plugin.cause,
    }


for command in (show,):
    losses.add_command(command)
