"""The recipe: all options of a training run, written and read as TOML. Loads no torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeAlias, TypeVar

import attrs
from attrs import field, frozen

from distill.arguments import is_text, shown
from distill.config import (
    Assigning,
    Assignment,
    Given,
    as_given,
    by_name,
    flatten,
    no_tables,
    set_twice,
    structure,
    to_toml,
    unstructure,
)
from distill.config.renamed_options import current_address, move_options
from distill.config.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import ConfigError, DistillError, RunError, TermError, all_of, noting
from distill.loss.config import configure
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Balancer, Term, module_of
from distill.plugin.registry import Registry, one_by_one

T = TypeVar("T")

DEFAULT_LOSS: Mapping[str, Mapping[str, Any]] = {
    "waveform": {"weight": 0.25, "share": 0.125},
    "reconstruction": {"weight": 1.0},
    "kl": {"weight_max": 0.001},
}
"""The default terms and their options, which `docs/sound.md` compares with others."""

_PYTHON = "python:"
"""The prefix of the module name in the provenance of a term that was given as a `TermSpec`."""

Terms: TypeAlias = str | TermSpec | Iterable[str | TermSpec]
"""Terms by name, comma-separated or in an iterable, or as `TermSpec`s."""


@frozen(kw_only=True)
class Recipe:
    """The options of a training run. `loss` has an attribute per term: `recipe.loss.stft.weight`.

    `balancing` holds the config of the chosen balancer, if any, under its name. `provenance` names the
    distribution and version of each term and balancer.
    """

    loss: Any
    representation: RepresentationSettings = field(factory=RepresentationSettings)
    model: ModelSettings = field(factory=ModelSettings)
    corpus: CorpusSettings = field(factory=CorpusSettings)
    training: TrainingSettings = field(factory=TrainingSettings)
    balancing: dict[str, Any] = field(
        factory=dict, metadata={"help": "a balancer and its options; none: weights are fixed factors"}
    )
    provenance: dict[str, str] = field(
        factory=dict,
        metadata={
            "help": "for the record: the distribution of each term, or python: and the module of a TermSpec"
        },
    )

    def to_toml(self) -> str:
        """Return the recipe as commented TOML, which `read_recipe` can read."""
        return to_toml(self, header="A Distill recipe: distill train --config FILE")


@frozen(kw_only=True)
class Draft:
    """A recipe with its terms and its balancer, and warnings about options of older versions."""

    recipe: Recipe
    terms: tuple[Term, ...]
    balancer: Balancer | None = None
    warnings: tuple[str, ...] = ()


def read_recipe(
    tree: Mapping[str, Any],
    registry: Registry,
    *,
    loss: Terms | None = None,
    balance: str | None = None,
    assignments: Iterable[Assignment] = (),
    specs: Iterable[TermSpec] = (),
) -> Draft:
    """Return a recipe from plain TOML data.

    Args:
        tree: Tables with the names of the attributes of `Recipe`. Each may be omitted.
        registry: The registry in which terms and balancer are looked up.
        loss: The terms, as a comma-separated string or an iterable, in which a `TermSpec` need not be
            installed. By default the terms that `tree` has options for or, if there are none, `DEFAULT_LOSS`
            with its options.
        balance: The balancer. By default the one that `tree` has options for, if any.
        assignments: Values by address, which replace those of `tree`. They do not choose terms. `loss.` may
            be omitted from the address of a chosen term's option.
        specs: Terms that are named in `tree` and not installed.

    Raises:
        TermError: A term or a balancer is unknown, ambiguous or broken.
        RunError: One is not installed, and the provenance in `tree` names its distribution or a module.
        ConfigError: An option is unknown or has an invalid value. `problems` has a line for each.
    """
    _require_tables(tree, ("loss", "provenance", "balancing"))
    defaults = {} if loss is not None or tree.get("loss") else DEFAULT_LOSS
    provenance = tree.get("provenance", {})
    if loss is None:
        chosen = [*defaults] or _terms_of(tree, {spec.name: spec for spec in specs})
    else:
        chosen = one_by_one(loss)
    missing, errors = list[DistillError](), list[DistillError]()
    balancer = None
    with noting(missing, TermError, RunError), _naming_what_is_missing(registry.terms, chosen, provenance):
        terms = registry.choose(chosen)
    with noting(missing, TermError, RunError):
        balancer = _choose_balancer(registry, balance, tree)
    if missing:  # problems of all that does not depend on what is missing are reported, too
        terms = registry.usable(chosen)
    names = {name: term.name for term in terms for name in term.names}
    tables, warnings = _assigned(tree, names, as_given(assignments), errors)
    problems = [*no_tables(tables, ("loss", "balancing")), *_no_text(tables)]
    for section in ("loss", "balancing"):  # one that is no table is reported with the problems of the others
        tables[section] = dict(tables[section]) if isinstance(tables.get(section), Mapping) else {}
    if missing:
        tables["balancing"] = {}
        for name in {each.rpartition(":")[2].strip() for each in chosen if isinstance(each, str)} - {*names}:
            for table in (tables, tables["loss"]):
                table.pop(name, None)
    warnings += move_options(tables, names, problems)
    for name, options in defaults.items():
        given = tables["loss"].get(name, {})
        tables["loss"][name] = {**options, **given} if isinstance(given, Mapping) else given
    configs = attempt(problems, configure, terms, tables["loss"])
    balancing = attempt(problems, _configure_balancing, balancer, tables["balancing"])
    recipe = attempt(problems, structure, {**tables, "loss": configs, "balancing": balancing or {}}, Recipe)
    errors = [*missing, *errors, *([ConfigError(*problems)] if problems else [])]
    if errors or recipe is None:
        raise all_of(errors)
    origins = {term.name: _origin(term, chosen) for term in terms}
    if balancer is not None:
        origins[f"balancing.{balancer.name}"] = balancer.origin
    # Written as numbers, since a recipe without them is of an older version, whose models have others.
    rate, n_fft, hop = (getattr(recipe.representation, name) for name in ("sample_rate", "n_fft", "hop"))
    joint, width = recipe.model.joint_frames_at(rate, hop), recipe.model.joint_width_at(rate, n_fft, hop)
    model = attrs.evolve(recipe.model, joint_frames=joint, joint_width=width)
    recipe = attrs.evolve(recipe, model=model, provenance=origins)
    return Draft(recipe=recipe, terms=terms, balancer=balancer, warnings=tuple(warnings))


def _require_tables(tree: Mapping[str, Any], names: Iterable[str]) -> None:
    if problems := no_tables(tree, names):
        raise ConfigError(*problems)


def _assigned(
    tree: Mapping[str, Any],
    names: Mapping[str, str],
    assignments: Iterable[Given],
    errors: list[DistillError],
) -> tuple[dict[str, Any], list[str]]:
    """Return a copy of a recipe with assignments made, and warnings about addresses of older versions.

    `names` has the name of each chosen term by its names and aliases. An alias in the recipe or in an address
    is replaced by the name, so that an assignment to one replaces the other. An error is added if a part of
    an address is not a table, or an option is set twice, to different values.
    """
    tables, warnings = deepcopy(dict(tree)), list[str]()
    tables["loss"] = by_name(tables.get("loss", {}), names)
    assigning = Assigning(
        tables, lambda address: _canonical(address, names, warnings), section="loss", names=names
    )
    for each in assignments:
        with noting(errors, ConfigError):
            assigning.assign(each)
    return tables, warnings


def _no_text(tables: Mapping[str, Any]) -> list[str]:
    """Return a problem for each text that cannot be written to a file, such as a path of other bytes."""
    return [
        f"{address}: must be valid text (UTF-8), got {shown(value)}"
        for address, value in flatten(tables).items()
        if isinstance(value, str) and not is_text(value)
    ]


def _canonical(given: str, names: Mapping[str, str], warnings: list[str]) -> str:
    """Return the address of an option as recipes have it. A warning is added for one of older versions."""
    section = given.partition(".")[0]
    short = section in names and section not in attrs.fields_dict(Recipe)
    path = current_address(f"loss.{given}" if short else given, names, warnings)
    section, _, address = path.partition(".")
    name, dot, option = address.partition(".")
    return f"loss.{names.get(name, name)}{dot}{option}" if section == "loss" and address else path


def settings_twice(varied: Iterable[Given], fixed: Iterable[Given], terms: Iterable[Term]) -> list[str]:
    """Return a problem for each option that a value of `varied` and another or a `fixed` one set.

    An option may be given by several addresses: without `loss.`, or by an alias of its term. An address may
    be that of a table, which sets its options.
    """
    names = {name: term.name for term in terms for name in term.names}
    given = [(_canonical(each.address, names, []), each) for each in fixed]
    problems = []
    for each in varied:
        place = _canonical(each.address, names, [])
        for its_place, other in given:
            if place == its_place or place.startswith(f"{its_place}.") or its_place.startswith(f"{place}."):
                problems.append(set_twice(place, other, each))
        given.append((place, each))
    return problems


def _terms_of(tree: Mapping[str, Any], given: Mapping[str, TermSpec]) -> list[str | TermSpec]:
    """Return the terms that a recipe has options for. `given` has uninstalled terms by name."""
    provenance = tree.get("provenance", {})
    return [
        given[name] if name in given and _is_python(provenance.get(name)) else _recorded(name, provenance)
        for name in tree.get("loss", {})
    ]


def _is_python(origin: object) -> bool:
    return str(origin).startswith(_PYTHON)


def _origin(term: Term, chosen: Iterable[str | TermSpec]) -> str:
    """Return the provenance of a term: its distribution or, for a `TermSpec`, its module."""
    if any(term.spec is each for each in chosen):
        return f"{_PYTHON}{module_of(term.spec)}"
    return term.origin


def attempt(problems: list[str], build: Callable[..., T], *arguments: object) -> T | None:
    """Return the result of `build`, or None after a `ConfigError`, whose problems are added to `problems`."""
    try:
        return build(*arguments)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """Return the paths at which two recipes differ, except provenance."""
    one, two = (flatten({**unstructure(r), "provenance": {}}) for r in (recipe, other))
    return sorted(path for path in {*one, *two} if one.get(path) != two.get(path))


def _choose_balancer(registry: Registry, balance: str | None, tree: Mapping[str, Any]) -> Balancer | None:
    provenance = tree.get("provenance", {})
    named = [_recorded(name, provenance, "balancing.") for name in tree.get("balancing", {})]
    if balance is None and len(named) > 1:
        raise ConfigError(f"balancing: expected one balancer at most, got {', '.join(named)}")
    if balance is None and not named:
        return None
    name = named[0] if balance is None else balance
    with _naming_what_is_missing(registry.balancers, [name], provenance, "balancing."):
        return registry.choose_balancer(name)


def _configure_balancing(balancer: Balancer | None, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the chosen balancer under its name.

    Raises:
        ConfigError: There are options of a balancer that is not chosen, or invalid ones.
    """
    unknown = sorted(set(tables) - {balancer.name if balancer else ""})
    if unknown:
        chosen = f"the balancer '{balancer.name}' is chosen" if balancer else "no balancer is chosen"
        raise ConfigError(
            *(f"balancing.{name}: {chosen}; choose this one with --balance" for name in unknown)
        )
    if balancer is None:
        return {}
    address = f"balancing.{balancer.name}"
    table = tables.get(balancer.name, {})
    return {balancer.name: structure(table, balancer.spec.config, at=address)}


@contextmanager
def _naming_what_is_missing(
    installed: Callable[[], Iterable[Term | Balancer]],
    chosen: Iterable[str | TermSpec],
    provenance: Mapping[str, Any],
    prefix: str = "",
) -> Iterator[None]:
    """Replace a `TermError` for missing terms by a `RunError` that names their recorded provenance."""
    try:
        yield
    except TermError as error:
        there = {name for each in installed() for name in each.names}
        wanted = sorted({each.rpartition(":")[2].strip() for each in chosen if isinstance(each, str)})
        recorded = {name: str(provenance[prefix + name]) for name in wanted if prefix + name in provenance}
        python = {
            name: origin.removeprefix(_PYTHON) for name, origin in recorded.items() if _is_python(origin)
        }
        missing = {n: origin for n, origin in recorded.items() if n not in there and n not in python}
        if not (missing or python):
            raise
        problems, remedies = [], []
        if missing:
            what = "a balancer that is" if prefix else "loss terms that are"
            problems.append(f"it needs {what} not installed: {_with_origins(missing)}")
            packages = " ".join(origin.replace(" ", "==") for origin in missing.values())
            remedies.append(f"Install them: pip install {packages}")
        if python:
            problems.append(f"it needs loss terms that were given in Python: {_with_origins(python)}")
            remedies.append(
                "Pass each TermSpec again, in Python: distill.train(loss=[...], resume=True, out=...)"
            )
        raise RunError("; ".join(problems), culprit="recipe", remedy="\n".join(remedies)) from error


def _with_origins(origins: Mapping[str, str]) -> str:
    return ", ".join(f"'{name}' of {origin}" for name, origin in origins.items())


def _recorded(name: str, provenance: Mapping[str, Any], prefix: str = "") -> str:
    """Return the name of a term or balancer with its recorded distribution, `distribution:name`."""
    origin = provenance.get(prefix + name)
    return name if origin is None else f"{str(origin).partition(' ')[0]}:{name}"
