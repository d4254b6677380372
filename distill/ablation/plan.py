"""The plan of an ablation: which runs are trained, all validated before the first one. Loads no torch."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.ablation.choices import Choices, Options
from distill.arguments import require_corpus
from distill.config import Assignment, Given, unstructure
from distill.config.words import show
from distill.errors import ConfigError, InputError
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Term
from distill.plugin.registry import Registry, one_by_one
from distill.recipe import Draft, Terms, read_recipe, settings_twice
from distill.storage.files import file_name

ALL = "all"
"""The name of the variant with the whole list of terms."""

_MOST_RUNS = 10_000


@frozen(kw_only=True)
class Variant:
    """A variant in a comparison: the whole loss, the loss without a term, or other options.

    `loss` has its terms, `left_out` the term that it lacks, and `settings` the options of the grid.
    """

    name: str
    loss: tuple[str, ...]
    left_out: str = ""
    settings: Options = ()

    @property
    def difference(self) -> str:
        """The difference from the reference, in words."""
        if self.left_out:
            return f"without {self.left_out}"
        return ", ".join(f"{_short(address)}={show(value)}" for address, value in self.settings) or ALL


@frozen(kw_only=True)
class PlannedRun:
    """A training run of a plan: its name, its variant and seed, and its recipe as plain data."""

    name: str
    variant: str
    seed: int
    recipe: Mapping[str, Any]


@frozen(kw_only=True)
class Plan:
    """The runs of an ablation. The first of the `variants` is the one that the others are compared with.

    `corpus` is the location that the user gave, None if the recipe names it. `kept` names the term that is
    not left out since it is the only one.
    """

    corpus: str | None
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    kept: str = ""

    @property
    def reference(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variants[0]

    def runs_of(self, variant: Variant) -> tuple[PlannedRun, ...]:
        """Return the runs of a variant, one for each seed."""
        return tuple(run for run in self.runs if run.variant == variant.name)


@frozen(kw_only=True)
class CommonRecipe:
    """The common part of the recipes of all runs: a recipe to start from, and the options of all runs."""

    tree: Mapping[str, Any]
    registry: Registry
    loss: Terms | None
    balance: str | None
    assignments: tuple[Given, ...]
    """The corpus, the length and the fixed options."""

    def draft(self, settings: Iterable[Assignment], seed: int) -> Draft:
        """Return the recipe with these options.

        Raises:
            DistillError: a term or an option is unknown, or a value is not valid.
        """
        assignments = [*self.assignments, *settings, ("training.seed", seed)]
        return read_recipe(
            self.tree, self.registry, loss=self.loss, balance=self.balance, assignments=assignments
        )

    def require_set_once(self, choices: Choices, terms: Iterable[Term]) -> None:
        """Check that no option of which values or a range are tried is set otherwise, too.

        Raises:
            ConfigError: one is. All are named.
        """
        if problems := settings_twice(choices.varied, self.assignments, terms):
            raise ConfigError(*problems)


def make_plan(
    common: CommonRecipe, choices: Choices, *, corpus: str | None, each: bool, seeds: Sequence[int]
) -> Plan:
    """Return the plan of an ablation, after reading the recipe of every run.

    With `each`, the terms are left out in turn. A grid makes a variant of each combination of its values, of
    which the first ones are the reference. With both, terms are left out of the reference.

    Raises:
        ConfigError: nothing varies, an option is unknown or a value is not valid. All problems are listed.
        TermError: a term is unknown, ambiguous or broken.
        CorpusError: the corpus does not exist.
    """
    require_installed(common.loss)
    if not each and not choices.grid:
        raise ConfigError(
            "nothing varies",
            culprit="ablation",
            remedy="Add --each to leave each term out in turn, or several values: "
            "--set loss.stft.weight=0.5,1,2",
        )
    reference = tuple((address, values[0]) for address, values in choices.grid)
    whole = common.draft(choices.reference, seeds[0])
    common.require_set_once(choices, whole.terms)
    loss = _names(common.loss, whole)
    kept = loss[0] if each and len(loss) == 1 else ""
    left_out = loss if each and not kept else ()
    _require_bounded(choices, left_out, seeds)
    variants = (
        *_variants_of_grid(loss, choices),
        *(
            Variant(
                name=f"without-{_plain(name)}",
                loss=tuple(other for other in loss if other != name),
                left_out=name,
                settings=reference,
            )
            for name in left_out
        ),
    )
    if kept and len(variants) == 1:
        raise ConfigError(
            f"'{kept}' is the only term, and is not left out: nothing varies",
            culprit="ablation",
            remedy="Choose several terms: --loss stft,recon,kl",
        )
    runs = _runs(common, variants, whole, seeds)
    require_corpus(whole.recipe.corpus.path)
    return Plan(corpus=corpus, variants=variants, seeds=tuple(seeds), runs=runs, kept=kept)


def _require_bounded(choices: Choices, left_out: Sequence[str], seeds: Sequence[int]) -> None:
    """Check the number of runs before their recipes take memory."""
    variants = math.prod(len(values) for _, values in choices.grid) + len(left_out)
    if variants * len(seeds) > _MOST_RUNS:
        raise ConfigError(
            f"these are {variants * len(seeds):,} runs, and {_MOST_RUNS:,} at most are made",
            remedy="Try fewer values or seeds, or search: --search N with ranges.",
        )


def _variants_of_grid(loss: tuple[str, ...], choices: Choices) -> Iterator[Variant]:
    """Yield a variant for each combination of values, or only the whole loss if there is no grid."""
    points = [
        tuple(zip((address for address, _ in choices.grid), values, strict=True))
        for values in product(*(values for _, values in choices.grid))
    ]
    for name, settings in zip(_distinct(map(_named, points)), points, strict=True):
        yield Variant(name=name, loss=loss, settings=settings)


def _runs(
    common: CommonRecipe, variants: Sequence[Variant], whole: Draft, seeds: Sequence[int]
) -> tuple[PlannedRun, ...]:
    """Return the runs, in the order in which they are trained: all variants of a seed, then the next seed."""
    terms = dict(zip(variants[0].loss, whole.terms, strict=True))
    tree = unstructure(whole.recipe)
    trees, problems = {}, list[str]()
    for variant in variants:
        own = {**tree, "loss": dict(tree["loss"])}
        if variant.left_out:
            del own["loss"][terms[variant.left_out].name]
        settings = () if variant.left_out else variant.settings
        try:
            draft = read_recipe(own, common.registry, loss=variant.loss, assignments=settings)
        except ConfigError as error:
            problems += [each for each in error.problems if each not in problems]
            continue
        trees[variant.name] = unstructure(draft.recipe)
    if problems:
        raise ConfigError(*problems)
    _require_different(trees)
    return tuple(planned_run(name, seed, tree) for seed in seeds for name, tree in trees.items())


def _require_different(trees: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that no two variants have the same recipe, since a value was given in two ways.

    Raises:
        ConfigError: two have.
    """
    names: dict[str, str] = {}
    for name, tree in trees.items():
        other = names.setdefault(json.dumps(tree, sort_keys=True, default=str), name)
        if other != name:
            raise ConfigError(
                f"has the same recipe as {other}",
                culprit=name,
                remedy="Pass each value once.",
            )


def planned_run(variant: str, seed: int, tree: Mapping[str, Any]) -> PlannedRun:
    """Return the run of a variant and a seed, with the recipe `tree` apart from the seed."""
    recipe = {**tree, "training": {**tree["training"], "seed": seed}}
    name = file_name(variant, f"-seed{seed}", Path())
    return PlannedRun(name=name, variant=variant, seed=seed, recipe=recipe)


def require_installed(loss: Terms | None) -> None:
    """Check that terms are given by name.

    Raises:
        InputError: one is a `TermSpec`.
    """
    if loss is not None and any(isinstance(each, TermSpec) for each in one_by_one(loss)):
        raise InputError(
            "the terms of an ablation have to be installed, since its runs are processes of their own",
            culprit="loss",
            remedy="Make a plugin of it: distill losses new NAME",
        )


def _names(loss: Terms | None, whole: Draft) -> tuple[str, ...]:
    """Return the names of the terms as the user wrote them, or their own where the user wrote none."""
    if loss is None:
        return tuple(term.name for term in whole.terms)
    return tuple(each.strip() for each in one_by_one(loss) if isinstance(each, str))


def _named(settings: Options) -> str:
    return ",".join(f"{_short(address)}={_plain(value)}" for address, value in settings) or ALL


def _distinct(names: Iterable[str]) -> list[str]:
    """Return names, of which later ones that are taken already get a number."""
    found: dict[str, None] = {}
    for name in names:
        free = (f"{name}-{number}" for number in count(2))
        found[name if name not in found else next(each for each in free if each not in found)] = None
    return list(found)


def _short(address: str) -> str:
    return address.removeprefix("loss.").removeprefix("training.")


def _plain(value: object) -> str:
    """Return a value for the name of a folder."""
    text = value if isinstance(value, str) else show(value)
    return "".join(letter if letter.isalnum() or letter in "+-_." else "_" for letter in text)
