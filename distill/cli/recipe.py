"""`distill recipe`: print the whole recipe of a training as commented TOML."""

import click


@click.command(short_help="Print a whole recipe as commented TOML.")
@click.option("--loss", help="Loss terms, comma-separated: stft,recon,kl. See `distill losses`.")
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Set an option.")
def recipe(loss: str | None, assignments: tuple[str, ...]) -> None:
    """Print the recipe of a training, every option with its help, for `distill train --config`."""
    from distill.config import assign, parse_assignment
    from distill.recipe import DEFAULT_LOSS, read_recipe
    from distill.registry import Registry

    tree: dict[str, object] = {}
    for text in assignments:
        assign(tree, *parse_assignment(text))
    # An option of one term does not choose that term alone.
    loss = DEFAULT_LOSS if loss is None else loss
    click.echo(read_recipe(tree, Registry(), loss=loss).recipe.to_toml(), nl=False)
