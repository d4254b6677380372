"""Arguments that `distill.train`, `distill.ablate` and `distill.search_weights` share. Loads no torch."""

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

from distill.arguments import is_url, path_like
from distill.config import load_toml, too_deep, unstructure
from distill.errors import ConfigError, UnaskedError
from distill.recipe import Recipe
from distill.storage.files import file_name

StrPath: TypeAlias = str | os.PathLike[str]

RUNS = Path("runs")
"""The folder of runs and ablations for which the user gives none."""

_LONGEST_NAME = 60  # characters of a name that is derived, and may get a number


def recipe_tree(recipe: Recipe | Mapping[str, Any] | StrPath | None) -> dict[str, Any]:
    """Return a copy of a recipe as plain data: of a `Recipe`, a TOML file or its content; empty for None.

    Raises:
        InputError: it is something else.
        ConfigError: the file does not exist or is not TOML, or the content is nested too deeply.
    """
    if recipe is None:
        return {}
    if isinstance(recipe, Recipe):
        return unstructure(recipe)
    if isinstance(recipe, Mapping):
        if problems := too_deep(recipe):
            raise ConfigError(*problems, culprit="recipe")
        return deepcopy(dict(recipe))
    return load_toml(path_like(recipe, culprit="recipe", expected="a Recipe, a TOML file or its content"))


def drop_length(tree: Mapping[str, Any]) -> None:
    """Remove `steps` and `minutes` from a recipe: they exclude each other, so an argument replaces both."""
    if isinstance(tree.get("training"), dict):
        for name in ("steps", "minutes"):
            tree["training"].pop(name, None)


def require_no_url(path: object, culprit: str) -> None:
    """Check that a corpus that only a recipe names is on this machine.

    Raises:
        UnaskedError: it is at a URL.
    """
    if isinstance(path, str) and is_url(path):
        remedy = f"If you trust it, pass it yourself as the corpus: {path}"
        raise UnaskedError(path, culprit=culprit, remedy=remedy)


def folder_name(location: str | None, before: str = "") -> str:
    """Return a name for a folder of results on a corpus, or on the demo corpus, with some text before it."""
    stem = Path(location).stem if location else "demo"
    return file_name(f"{before}{stem}", "", RUNS)[:_LONGEST_NAME]
