"""The registry of loss terms: Distill's own and those of installed plugins. Loads no torch."""

import pkgutil
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import TYPE_CHECKING, NoReturn

import pluggy
from attrs import frozen

import distill
from distill import hookspecs
from distill.config import suggest
from distill.errors import DistillError, TermError
from distill.hookspecs import PROJECT, BaseTermConfig, TermSpec
from distill.terms import configs

if TYPE_CHECKING:
    from torch import nn


@frozen(kw_only=True)
class Provenance:
    """The distribution that something came from."""

    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Give the distribution with its version, if it has one."""
        return f"{self.distribution} {self.version}".rstrip()

    def is_from(self, distribution: str) -> bool:
        """Say whether this is the distribution's name, compared as installers do (PEP 503)."""
        return _normalised(self.distribution) == _normalised(distribution)


@frozen(kw_only=True)
class Term(Provenance):
    """A registered loss term: its spec and where it came from."""

    spec: TermSpec

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"

    @property
    def name(self) -> str:
        """Give the canonical name."""
        return self.spec.name

    @property
    def names(self) -> tuple[str, ...]:
        """Give the canonical name, then the aliases."""
        return (self.spec.name, *self.spec.aliases)

    def build(self, config: BaseTermConfig) -> "nn.Module":
        """Build the term's module from its config.

        Raises:
            TermError: The builder cannot be imported, raises, or returns something else.
        """
        from torch import nn  # noqa: PLC0415  # listing terms loads no torch

        builder = self.spec.build
        try:
            if isinstance(builder, str):
                builder = pkgutil.resolve_name(builder)
            module = builder(config)
            if not isinstance(module, nn.Module):
                raise TypeError(f"expected an nn.Module, got {module!r}")  # noqa: TRY301  # reported below
        except Exception as error:
            raise TermError(
                f"the term cannot be built: {_cause(error)}",
                culprit=str(self),
                remedy=f"If its options are right, report this to the authors of {self.distribution}.",
            ) from error
        return module


@frozen(kw_only=True)
class Broken(Provenance):
    """An installed plugin that cannot be used, and why."""

    entry_point: str
    error: BaseException
    names: tuple[str, ...]
    """The names that need this plugin: its entry point's, and those of the terms it declared."""

    @property
    def cause(self) -> str:
        """Say in one line why the plugin cannot be used."""
        return _cause(self.error)


class Registry:
    """The loss terms that can be chosen by name.

    The built-in terms come first: the entry points of installed plugins are loaded only when another
    name is asked for, or when everything is listed, and never when `discover` is false. A plugin that
    fails is kept in `broken()` and is fatal only to whoever needs it.
    """

    def __init__(self, *, discover: bool = True) -> None:
        self._terms: list[Term] = []
        self._broken: list[Broken] = []
        self._plugins: list[object] = []
        self._undiscovered = discover
        self.register(configs, name=PROJECT, version=distill.__version__)

    def register(self, plugin: object, *, name: str, version: str = "") -> None:
        """Register the terms of a plugin: a module, or any object with a `distill_loss_terms` hook.

        `name` stands for its distribution. A plugin that is registered already stays as it is.

        Raises:
            TermError: The plugin breaks the contract in `distill.hookspecs`, or one of its names is taken.
        """
        try:
            self._add(plugin, _declared_specs(plugin), name, version)
        except Exception as error:
            raise TermError(
                _cause(error),
                culprit=f"plugin '{name}'",
                remedy="The docstring of distill.hookspecs.distill_loss_terms shows a complete plugin.",
            ) from error

    def terms(self) -> tuple[Term, ...]:
        """Give every term that works, the built-in ones first."""
        self._discover()
        return tuple(self._terms)

    def broken(self) -> tuple[Broken, ...]:
        """Give the installed plugins that cannot be used."""
        self._discover()
        return tuple(self._broken)

    def choose(self, names: str | Iterable[str]) -> tuple[Term, ...]:
        """Find terms by name, alias or `distribution:name`, in `"stft,recon,kl"` or an iterable of names.

        Raises:
            TermError: A name is empty, unknown, ambiguous, chosen twice, or needs a broken plugin.
        """
        wanted = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
        if "" in wanted or not wanted:
            problem = f"a name is empty in '{','.join(wanted)}'" if any(wanted) else "no loss term is chosen"
            raise TermError(problem, remedy=f"Choose from: {self._listing()}")
        chosen: dict[str, tuple[str, Term]] = {}
        for name in wanted:
            term = self._find(name)
            if term.name in chosen:
                raise TermError(
                    f"loss term '{term.name}' is chosen twice, as '{chosen[term.name][0]}' and as '{name}'",
                    remedy="Choose it once and set its weight.",
                )
            chosen[term.name] = name, term
        return tuple(term for _, term in chosen.values())

    def _find(self, wanted: str) -> Term:
        matches = self._matches(wanted)
        if not any(term.is_from(PROJECT) for term in matches):
            self._discover()
            matches = self._matches(wanted)
        if not matches:
            self._fail_to_find(wanted)
        if len(matches) > 1:
            raise TermError(
                f"loss term '{wanted}' is provided by {' and by '.join(term.origin for term in matches)}",
                remedy=f"Say which: {' or '.join(f'{term.distribution}:{wanted}' for term in matches)}",
            )
        return matches[0]

    def _matches(self, wanted: str) -> list[Term]:
        distribution, colon, name = wanted.rpartition(":")
        return [t for t in self._terms if name in t.names and (not colon or t.is_from(distribution))]

    def _fail_to_find(self, wanted: str) -> NoReturn:
        distribution, colon, name = wanted.rpartition(":")
        suspects = [plugin for plugin in self._broken if not colon or plugin.is_from(distribution)]
        listing = self._listing()
        for plugin in suspects:
            if name in plugin.names:
                raise TermError(
                    f"loss term '{name}' cannot be loaded: {plugin.cause}",
                    culprit=plugin.origin,
                    remedy=f"Repair or uninstall {plugin.distribution}, or choose from: {listing}",
                ) from plugin.error
        if colon:
            problem = f"no installed distribution '{distribution}' provides a loss term '{name}'"
            remedy = f"Install the one that does, or choose from: {listing}"
            known = [f"{term.distribution}:{name}" for term in self._terms for name in term.names]
        else:
            problem = f"unknown loss term '{name}'"
            remedy = f"Choose from: {listing}"
            known = [name for term in self._terms for name in term.names]
        if suspects:
            remedy += "\nIt may belong to a plugin that cannot be loaded:"
            remedy += "".join(f"\n  {plugin.origin}: {plugin.cause}" for plugin in suspects)
        raise TermError(problem + suggest(wanted, known), remedy=remedy)

    def _listing(self) -> str:
        return ", ".join(" or ".join(term.names) for term in self.terms())

    def _discover(self) -> None:
        if self._undiscovered:
            self._undiscovered = False
            for point in sorted(entry_points(group=PROJECT)):
                if point.dist is not None:  # always, but for an entry point that was made by hand
                    self._load(point, point.dist)

    def _load(self, point: EntryPoint, distribution: Distribution) -> None:
        names = [point.name]
        try:
            plugin = point.load()
            specs = _declared_specs(plugin)
            names += [name for spec in specs for name in (spec.name, *spec.aliases)]
            self._add(plugin, specs, distribution.name, distribution.version)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a foreign module may raise anything
            self._broken.append(
                Broken(
                    distribution=distribution.name,
                    version=distribution.version,
                    entry_point=point.name,
                    error=error,
                    names=tuple(names),
                )
            )

    def _add(self, plugin: object, specs: Sequence[TermSpec], distribution: str, version: str) -> None:
        # Two entry points may name one module, and so may what two installations of it left behind.
        if any(plugin is known for known in self._plugins):
            return
        terms = [Term(spec=spec, distribution=distribution, version=version) for spec in specs]
        taken = {
            name: term
            for term in self._terms
            if term.is_from(PROJECT) or term.is_from(distribution)
            for name in term.names
        }
        for term in terms:
            for name in term.names:
                if name in taken:
                    raise TermError(f"the name '{name}' is taken by {taken[name]}")
                taken[name] = term
        self._terms += terms
        self._plugins.append(plugin)


def _declared_specs(plugin: object) -> list[TermSpec]:
    # A manager for each plugin, so that what fails or is yielded belongs to this plugin alone.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    specs = [spec for specs in manager.hook.distill_loss_terms() for spec in specs]
    if not specs:
        raise TermError("it has no @hookimpl 'distill_loss_terms' that yields a TermSpec")
    for spec in specs:
        if not isinstance(spec, TermSpec):
            raise TermError(f"'distill_loss_terms' yields {spec!r}, not a TermSpec")
    return specs


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, DistillError | pluggy.PluginValidationError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")
