"""`distill recipe`: print a complete recipe as commented TOML."""

import click

from distill.cli import completion
from distill.cli.options import no_plugins_option


@click.command(short_help="Print a complete recipe as commented TOML.")
@click.option(
    "--loss",
    shell_complete=completion.terms,
    help="Loss terms, comma-separated, such as stft,recon,kl. See `distill losses`.",
)
@click.option(
    "--balance",
    shell_complete=completion.balancers,
    help="Balancer: with gradient, weights are shares of the gradient.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.addresses,
    help="Set an option.",
)
@no_plugins_option
def recipe(loss: str | None, balance: str | None, assignments: tuple[str, ...]) -> None:
    """Print the recipe of a training run for `distill train --config`: all options with their help."""
    from distill.config import parse_assignment
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe

    draft = read_recipe(
        {}, Registry(), loss=loss, balance=balance, assignments=map(parse_assignment, assignments)
    )
    click.echo(draft.recipe.to_toml(), nl=False)
