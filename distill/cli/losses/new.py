"""`distill losses new`: write a complete plugin as a starting point for a new term."""

import shlex
import shutil
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from string import Template

import click

from distill.cli.options import Place
from distill.errors import printable

_FILES = {
    "pyproject.toml": "pyproject.toml",
    "module.py": "$module.py",
    "test.py": "tests/test_$module.py",
    "README.md": "README.md",
}
"""The templates, and the path of the file made from each, in the plugin's folder."""


@click.command(short_help="Write a new plugin with a loss term.")
@click.argument("name")
@click.option(
    "--out",
    type=Place(),
    default=Path(),
    help="Parent folder; by default the current one.",
)
def new(name: str, out: Path) -> None:
    """Write a plugin with the loss term NAME to the folder distill-NAME, as a starting point.

    The plugin is a working package with options, a term, tests and a README. Existing files are never
    overwritten.
    """
    term = name.replace("-", "_")
    words = [word for word in term.split("_") if word]
    distribution = "-".join(["distill", *words])
    _require_free(term, distribution)
    names = {
        "term": term,
        "distribution": distribution,
        "module": f"distill_{term}",
        "camel": "".join(map(str.capitalize, words)),
    }
    folder = out / distribution
    _write(folder, names)
    path = str(folder) if folder.is_absolute() else f"./{folder}"
    shown, with_tests = shlex.quote(path), shlex.quote(f"{path}[test]")
    click.echo("\nNext:")
    for command in (
        f"pip install -e {with_tests}",
        f"pytest {shown}",
        f"distill losses check {term}",
        f"distill train --loss stft,recon,kl,{term} --steps 20",
    ):
        click.secho(f"  {printable(command)}", bold=True)


def _require_free(term: str, distribution: str) -> None:
    """Check that the term's name is valid, and that no installed term or distribution has it.

    Raises:
        TermError: the name is not valid, or is taken.
    """
    from distill.errors import TermError
    from distill.plugin.hookspecs import TermConfig, TermSpec
    from distill.plugin.registry import Registry

    try:
        TermSpec(name=term, config=TermConfig, build="", summary="")
    except ValueError as error:
        raise TermError(str(error).removeprefix("'name' "), culprit="NAME") from error
    taken = [str(other) for other in Registry().terms() if term in other.names]
    taken += [f"{each.name} {each.version}" for each in metadata.distributions(name=distribution)]
    if taken:
        raise TermError(
            f"the name '{term}' is taken by {taken[0]}",
            remedy="Choose another one; those that are taken are listed by: distill losses",
        )


def _write(folder: Path, names: Mapping[str, str]) -> None:
    """Fill in the templates, write them, and print the path of each file.

    Raises:
        TermError: the folder exists already, or cannot be created.
        RunError: a file cannot be written. The folder is removed.
    """
    from distill.errors import TermError
    from distill.storage.files import naming

    templates = resources.files("distill.cli.losses") / "templates" / "term"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise TermError(
            "is there already, and nothing is overwritten",
            culprit=str(folder),
            remedy="Remove it, or choose another NAME or another folder with --out.",
        ) from None
    except OSError as error:
        raise TermError(
            f"cannot be written: {error.strerror}",
            culprit=str(folder),
            remedy="Pass another folder with --out.",
        ) from None
    paths = []
    try:
        for template, place in _FILES.items():
            path = folder / Template(place).substitute(names)
            text = (templates / f"{template}.template").read_text(encoding="utf-8")
            paths.append(path)
            with naming(path):
                path.parent.mkdir(exist_ok=True)
                path.write_text(Template(text).substitute(names), encoding="utf-8")
    except BaseException:  # a half-made plugin would hinder the next attempt
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for path in paths:
        click.echo(printable(path))
