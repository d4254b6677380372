"""`compose`: a combined loss of terms by name, with options by address."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from distill.arguments import options_by_address
from distill.config import Assigning, as_given, no_tables, structure
from distill.errors import ConfigError, DistillError, InputError, TermError, all_of, noting
from distill.loss.composer import CombinedLoss
from distill.loss.config import configure
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Term
from distill.plugin.registry import Registry, one_by_one


def compose(
    terms: str | TermSpec | Iterable[str | TermSpec],
    options: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
    *,
    balancer: str | None = None,
    balancer_options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> CombinedLoss:
    """Compose a loss of terms, for a custom training loop.

        loss = compose("stft,recon,kl", {"stft.weight": 2.0})
        components = loss(inputs)
        components["total"].backward()

    A custom term need not be installed: `compose(["stft", "kl", TermSpec(...)])`.

    With trained terms, `components["objective"].backward()` computes the gradients of `loss.parameters()`,
    for a separate optimizer.

    Args:
        terms: Names or aliases of terms, as a comma-separated string or an iterable; `dist:name` if two
            distributions have a term of the same name. A `TermSpec` among them need not be installed.
        options: Values by address, such as `"loss.stft.weight"`. `loss.` may be omitted.
        balancer: Its name, such as `"gradient"`. By default weights are fixed factors.
        balancer_options: Its options by name, or by address, such as `"balancing.gradient.decay"`.
        registry: The registry in which terms and balancer are looked up. By default everything installed.

    Raises:
        TermError: A term or the balancer is unknown, ambiguous or broken, or two terms have the same name.
        ConfigError: An option is unknown, is set to two values, or has an invalid value.
        InputError: Options are not given by address, or balancer options are given without a balancer. An
            error names all that is wrong, and is of the class of the first.
    """
    registry, wanted = registry or Registry(), one_by_one(terms)
    errors = list[DistillError]()
    chosen = _chosen(registry, wanted, errors)
    named = {each.rpartition(":")[2].strip() for each in wanted if isinstance(each, str)}
    config = _configured(chosen, named, options_by_address(options or {}, culprit="options"), errors)
    built = None
    if balancer is not None:
        given = options_by_address(
            balancer_options or {}, culprit="balancer_options", example='{"decay": 0.99}'
        )
        built = _balancer(registry, balancer, given, chosen, errors)
    elif balancer_options:
        remedy = 'Choose one: balancer="gradient".'
        errors.append(InputError("no balancer is chosen", culprit="balancer_options", remedy=remedy))
    if errors:
        raise all_of(errors)
    return CombinedLoss(chosen, config, balancer=built)


def _chosen(
    registry: Registry, wanted: Sequence[str | TermSpec], errors: list[DistillError]
) -> tuple[Term, ...]:
    """Return the chosen terms. An error is added for those that cannot be chosen, which are left out."""
    with noting(errors, TermError):
        return registry.choose(wanted)
    return registry.usable(wanted)


def _configured(
    chosen: Sequence[Term],
    named: Collection[str],
    options: Iterable[tuple[str, Any]],
    errors: list[DistillError],
) -> Any:  # noqa: ANN401  # a class made for the terms
    """Return the configs of terms. Errors are added, but none for the options of other `named` terms."""
    names = {name: term.name for term in chosen for name in term.names}
    unknown = {*named} - names.keys()
    tables = _nested(options, "loss", names | {name: name for name in unknown}, errors)
    with noting(errors, ConfigError):
        return configure(chosen, {name: table for name, table in tables.items() if name not in unknown})
    return None


def _balancer(
    registry: Registry,
    name: str,
    options: Iterable[tuple[str, Any]],
    chosen: Sequence[Term],
    errors: list[DistillError],
) -> nn.Module | None:
    with noting(errors, TermError, ConfigError):
        balancer = registry.choose_balancer(name)
        section = f"balancing.{balancer.name}"
        config = structure(_nested(options, section, {}, errors), balancer.spec.config, at=section)
        return balancer.build(config, tuple(term.name for term in chosen))
    return None


def _nested(
    options: Iterable[tuple[str, Any]], section: str, names: Mapping[str, str], errors: list[DistillError]
) -> dict[str, Any]:
    """Return the tables of a section from options by address, which may begin with the section or omit it.

    `names` has the keys of the section by their aliases and their names; the section's own name may be one of
    them. An error is added for each option that is set twice, or that is below another value.
    """

    def place_of(address: str) -> str:
        below = address.removeprefix(f"{section}.")
        first = below.partition(".")[0]
        if address == section and section not in names:
            return section
        inner = below if first in names or section not in names else address
        key, dot, option = inner.partition(".")
        return f"{section}.{names.get(key, key)}{dot}{option}"

    assigning = Assigning({}, place_of, section=section, names=names)
    for option in as_given(options):
        with noting(errors, ConfigError):
            assigning.assign(option)
    tables: Any = assigning.tables
    for part in section.split("."):
        if problems := no_tables(tables, (part,)):
            errors.append(ConfigError(*problems))
            return {}
        tables = tables.get(part, {})
    return dict(tables)
