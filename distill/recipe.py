"""The recipe: everything a training is told, as one tree that is written and read as TOML. Loads no torch."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

import attrs
from attrs import field, frozen

from distill.config import assign, structure, to_toml, unstructure
from distill.config.words import show_briefly
from distill.errors import ConfigError, RunError, TermError
from distill.loss_config import configure
from distill.registry import Registry, Term
from distill.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings

DEFAULT_LOSS: Mapping[str, Mapping[str, Any]] = {
    "waveform": {"weight": 0.25, "share": 0.125},
    "reconstruction": {"weight": 1.0},
    "kl": {"weight_max": 0.001},
}
"""The terms of a recipe that names none, and their options: what was measured best, see `docs/sound.md`."""

_RENAMED = {
    "kl_warmup_fraction": "warmup_fraction",
    "kl_weight_max": "weight_max",
    "free_bits": "free_bits",
}
"""Options the first Distill kept under `[training]`, and their names under `[loss.kl]`."""

T = TypeVar("T")


@frozen(kw_only=True)
class Recipe:
    """A whole run. `loss` is of a class made for the chosen terms: `recipe.loss.stft.weight`.

    `provenance` names the distribution and version of each term, so that a run says what it needs.
    """

    loss: Any
    representation: RepresentationSettings = field(factory=RepresentationSettings)
    model: ModelSettings = field(factory=ModelSettings)
    corpus: CorpusSettings = field(factory=CorpusSettings)
    training: TrainingSettings = field(factory=TrainingSettings)
    provenance: dict[str, str] = field(
        factory=dict, metadata={"help": "the distribution each term comes from, as a record"}
    )

    def to_toml(self) -> str:
        """Write the recipe as commented TOML, which `read_recipe` reads back."""
        return to_toml(self, header="A Distill recipe: distill train --config FILE")


@frozen(kw_only=True)
class Draft:
    """A recipe with the terms it chose, and warnings about options of older versions."""

    recipe: Recipe
    terms: tuple[Term, ...]
    warnings: tuple[str, ...] = ()


def read_recipe(
    tree: Mapping[str, Any],
    registry: Registry,
    *,
    loss: str | None = None,
    assignments: Iterable[tuple[str, Any]] = (),
) -> Draft:
    """Build a recipe from plain TOML data.

    Args:
        tree: tables as `Recipe` has them; each may be left out.
        registry: where the terms are looked up.
        loss: the terms, comma-separated; by default those that `tree` has options for. Where it has
            none, they are those of `DEFAULT_LOSS`, with its options.
        assignments: values by their address, which replace those of `tree`; they choose no terms.

    Raises:
        TermError: a term is unknown, ambiguous or broken.
        RunError: a term is not installed, and the tree's provenance says which distribution has it.
        ConfigError: with every option that is unknown or does not fit.
    """
    defaults = {} if loss is not None or _table(tree, "loss") else DEFAULT_LOSS
    chosen = ",".join(defaults) or (_terms_of(tree) if loss is None else loss)
    terms = _choose(registry, chosen, _table(tree, "provenance"))
    tables = deepcopy(dict(tree))
    # An alias stands for its term, else what is assigned to the one would not replace the other.
    names = {name: term.name for term in terms for name in term.names}
    options = _table(tables, "loss")
    tables["loss"] = {
        name if names.get(name) in options else names.get(name, name): options[name] for name in options
    }
    for path, value in assignments:
        section, _, address = path.partition(".")
        name, dot, option = address.partition(".")
        canonical = f"loss.{names.get(name, name)}{dot}{option}" if section == "loss" and address else path
        assign(tables, canonical, value)
    problems: list[str] = []
    warnings = _move_renamed(tables, {term.name for term in terms}, problems)
    for name, options in defaults.items():
        given = tables["loss"].get(name, {})
        tables["loss"][name] = {**options, **given} if isinstance(given, Mapping) else given
    configs = attempt(problems, configure, terms, tables["loss"])
    recipe = attempt(problems, structure, {**tables, "loss": configs}, Recipe)
    if problems or recipe is None:
        raise ConfigError(*problems)
    origins = {term.name: term.origin for term in terms}
    return Draft(recipe=attrs.evolve(recipe, provenance=origins), terms=terms, warnings=tuple(warnings))


def _terms_of(tree: Mapping[str, Any]) -> str:
    """Give the terms a recipe has options for, comma-separated.

    Raises:
        ConfigError: its `loss` or `provenance` is not a table.
    """
    provenance = _table(tree, "provenance")
    return ",".join(_recorded(name, provenance) for name in _table(tree, "loss"))


def attempt(problems: list[str], build: Any, *arguments: Any) -> Any:  # noqa: ANN401  # as `build` has it
    """Call `build`, and keep the problems of a `ConfigError` to raise them together."""
    try:
        return build(*arguments)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """Give the paths at which two recipes differ, provenance apart."""
    one, two = (_flat({**unstructure(r), "provenance": {}}) for r in (recipe, other))
    return sorted(path for path in {*one, *two} if one.get(path) != two.get(path))


def _choose(registry: Registry, names: str, provenance: Mapping[str, Any]) -> tuple[Term, ...]:
    try:
        return registry.choose(names)
    except TermError as error:
        installed = {name for term in registry.terms() for name in term.names}
        wanted = {name.rpartition(":")[2].strip() for name in names.split(",")}
        missing = {name: str(provenance[name]) for name in sorted(wanted - installed) if name in provenance}
        if not missing:
            raise
        raise RunError(
            "it needs loss terms that are not installed: "
            + ", ".join(f"'{name}' of {origin}" for name, origin in missing.items()),
            culprit="recipe",
            remedy="Install them: pip install " + " ".join(o.replace(" ", "==") for o in missing.values()),
        ) from error


def _recorded(name: str, provenance: Mapping[str, Any]) -> str:
    """Name a term with the distribution it came from when the recipe was written."""
    return f"{str(provenance[name]).partition(' ')[0]}:{name}" if name in provenance else name


def _table(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = tree.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name}: expected a table, got {show_briefly(table)}")
    return table


def _move_renamed(tree: dict[str, Any], chosen: set[str], problems: list[str]) -> list[str]:
    """Move options that older versions kept elsewhere to where they are now; give the warnings."""
    training, warnings = tree.get("training"), []
    for old, new in _RENAMED.items():
        if not isinstance(training, dict) or old not in training:
            continue
        value = training.pop(old)
        table = tree["loss"].setdefault("kl", {}) if "kl" in chosen else {}
        if "kl" not in chosen:
            problems.append(f"training.{old}: is now loss.kl.{new}, and the term 'kl' is not chosen")
        elif isinstance(table, dict) and new in table:
            problems.append(f"training.{old}: is set as loss.kl.{new} too; keep the latter")
        elif isinstance(table, dict):  # what else it is, is reported with the other problems
            table[new] = value
            warnings.append(f"training.{old} is deprecated; it is now loss.kl.{new}")
    return warnings


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = value
    return flat
