"""`distill losses`: list the installed terms and balancers. Each subcommand has a module."""

from typing import TYPE_CHECKING

import click

from distill.cli.losses.check import check
from distill.cli.losses.new import new
from distill.cli.losses.printing import names, print_indented, print_json, record
from distill.cli.losses.profile import profile
from distill.cli.losses.show import show
from distill.cli.options import json_option, no_plugins_option

if TYPE_CHECKING:
    from distill.plugin.broken import Broken
    from distill.plugin.registered import Balancer, Term


@click.group(invoke_without_command=True, short_help="List loss terms; check, profile or write one.")
@json_option
@no_plugins_option
@click.pass_context
def losses(context: click.Context, *, as_json: bool) -> None:
    """List installed loss terms and balancers, their origins, and broken plugins."""
    from distill.plugin.registry import Registry  # slow, and not needed for `distill --help`

    if context.invoked_subcommand is not None:
        # `losses --json show NAME` is `losses show NAME --json`.
        context.default_map = {context.invoked_subcommand: {"as_json": as_json}}
        return
    registry = Registry()
    terms, balancers = registry.terms(), registry.balancers()
    broken, left_out = registry.broken(), registry.left_out()
    if as_json:
        listing = {"terms": [*map(record, terms)], "balancers": [*map(record, balancers)]}
        listing["broken"] = [*map(_broken_record, broken)]
        listing["left_out"] = [
            {"distribution": plugin.distribution, "version": plugin.version} for plugin in left_out
        ]
        print_json(listing)
        return
    every: list[Term | Balancer] = [*terms, *balancers]
    width = max(len(names(found)) for found in every)
    for term in terms:
        _print_found(term, width)
    click.secho("\nBalancers, for --balance", bold=True)
    for balancer in balancers:
        _print_found(balancer, width)
    if broken:
        click.secho("\nPlugins that cannot be loaded", bold=True, fg="red")
    for plugin in broken:
        click.echo(f"{plugin.origin}, entry point '{plugin.entry_point}'")
        print_indented(plugin.cause)
    if left_out:
        click.secho("\nPlugins left out by DISTILL_PLUGINS or --no-plugins", bold=True)
    for origin in dict.fromkeys(plugin.origin for plugin in left_out):
        click.echo(origin)
    click.echo("\n'distill losses show NAME' lists the options of a term or balancer.")


def _print_found(found: "Term | Balancer", width: int) -> None:
    click.echo(f"{click.style(names(found).ljust(width), bold=True)}  {found.origin}")
    print_indented(found.spec.summary)


def _broken_record(plugin: "Broken") -> dict[str, str]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.entry_point,
        "cause": plugin.cause,
    }


for command in (show, check, new, profile):
    losses.add_command(command)
