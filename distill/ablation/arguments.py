"""The arguments that `distill.ablate` and `distill.search_weights` share. Loads no torch."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, TypeAlias

from attrs import frozen

from distill.ablation.choices import Choices, choices_of
from distill.ablation.folder import AblationFolder
from distill.ablation.plan import CommonRecipe
from distill.ablation.seeds import parse_seeds
from distill.arguments import corpus_location, options_by_address, path_like, require_corpus
from distill.config import as_given, given_arguments
from distill.errors import ConfigError, InputError, RunError
from distill.plugin.registry import Registry
from distill.recipe import Recipe, Terms
from distill.training.shared_arguments import (
    RUNS,
    drop_length,
    folder_name,
    recipe_tree,
    require_no_url,
)

StrPath: TypeAlias = str | os.PathLike[str]


@frozen(kw_only=True)
class Arguments:
    """The arguments as the user gave them. `distill.ablate` describes them."""

    corpus: StrPath | None
    loss: Terms | None
    grid: Mapping[str, Sequence[Any]] | None
    seeds: int | Iterable[int] | str
    recipe: Recipe | Mapping[str, Any] | StrPath | None
    options: Mapping[str, Any] | Iterable[tuple[str, Any]]
    balance: str | None
    minutes: float | None
    steps: int | None
    device: str | None
    on: StrPath | None
    out: StrPath | None
    registry: Registry | None

    def location(self) -> str | None:
        """Return the location of the corpus, None if it is not given.

        Raises:
            InputError: it is neither a path nor a URL.
        """
        if self.corpus is None:
            return None
        if not isinstance(self.corpus, str | os.PathLike):
            raise InputError(
                f"the corpus of an ablation is a path or a URL: got a {type(self.corpus).__name__}",
                culprit="corpus",
            )
        return corpus_location(self.corpus)

    def common_recipe(self) -> CommonRecipe:
        """Return what the recipes of all runs have in common.

        Raises:
            ConfigError: the recipe cannot be read, or an option is the seed.
            InputError: an argument is of another type.
            UnaskedError: the corpus is at a URL that only the recipe names.
        """
        tree, location = recipe_tree(self.recipe), self.location()
        length = {"training.minutes": self.minutes, "training.steps": self.steps}
        if any(value is not None for value in length.values()):
            drop_length(tree)
        arguments = {"corpus.path": location, **length, "training.device": self.device}
        options = options_by_address(self.options, culprit="options")
        assignments = (*given_arguments(arguments), *as_given(options))
        addresses = [each.address for each in assignments]
        _require_no_seed(addresses)
        if isinstance(tree.get("corpus"), dict) and "corpus.path" not in addresses:
            require_no_url(tree["corpus"].get("path"), "recipe")
        return CommonRecipe(
            tree=tree,
            registry=self.registry or Registry(),
            loss=self.loss,
            balance=self.balance,
            assignments=assignments,
        )

    def choices(self, ranges: Mapping[str, tuple[float, float]]) -> Choices:
        """Return the values of the grid and the ranges to search.

        Raises:
            ConfigError: they contradict each other, or an option is the seed.
            InputError: they are of other types.
        """
        choices = choices_of((), self.grid or {}, ranges)
        _require_no_seed(address for address, _ in (*choices.grid, *choices.ranges))
        return choices

    def chosen_seeds(self) -> tuple[int, ...]:
        """Return the seeds.

        Raises:
            InputError: there are none, or one is given twice.
        """
        return parse_seeds(self.seeds)

    def recordings(self) -> str | None:
        """Return the location of the recordings to measure, None for those that each run holds out.

        Raises:
            CorpusError: there are none.
        """
        if self.on is None:
            return None
        location = corpus_location(self.on, culprit="on")
        require_corpus(location)
        return location

    def folder(self, kind: str, require: Callable[[AblationFolder], None]) -> AblationFolder:
        """Return a folder that `require` accepts: by default the first in `runs/` that is free, or can go on.

        Raises:
            RunError: `out` is not accepted.
        """
        if self.out is not None:
            folder = AblationFolder(path_like(self.out, culprit="out", expected="a folder"))
            require(folder)
            return folder
        name = folder_name(self.location(), f"{kind}-")
        for number in count(1):
            folder = AblationFolder(RUNS / (name if number == 1 else f"{name}-{number}"))
            if not folder.path.exists():
                break
            with suppress(RunError, ConfigError):
                require(folder)
                break
        return folder


def _require_no_seed(addresses: Iterable[str]) -> None:
    if "training.seed" in addresses:
        raise ConfigError("training.seed: each run has a seed of its own; pass them with --seeds")
