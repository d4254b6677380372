"""`distill recipe`: print a complete recipe as commented TOML."""

import click

from distill.cli.options import balance_option, loss_option, no_plugins_option, set_option
from distill.cli.stdout import print_product, reserve_output


@click.command(short_help="Print a complete recipe as commented TOML.")
@loss_option
@balance_option
@set_option
@no_plugins_option
@click.pass_context
def recipe(
    context: click.Context, loss: str | None, balance: str | None, assignments: tuple[str, ...]
) -> None:
    """Print the recipe of a training run for `distill train --config`: all options with their help."""
    reserve_output(context)
    from distill.config import parse_assignments
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe

    options = parse_assignments(assignments)
    draft = read_recipe({}, Registry(), loss=loss, balance=balance, assignments=options)
    print_product(draft.recipe.to_toml(), nl=False)
