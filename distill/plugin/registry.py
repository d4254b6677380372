"""The registry of loss terms and balancers: Distill's own and those of plugins. Loads no torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar

import distill
from distill.config import suggest
from distill.errors import TermError, all_of
from distill.plugin import builtin_balancers as balancers
from distill.plugin import builtin_terms as terms
from distill.plugin.broken import Broken, cause_of
from distill.plugin.declared import declared_specs
from distill.plugin.foreign import ForeignCode
from distill.plugin.homes import home_of
from distill.plugin.hookspecs import PROJECT, BalancerSpec, TermSpec
from distill.plugin.provenance import Provenance, normalized
from distill.plugin.registered import Balancer, Term
from distill.plugin.selection import VARIABLE, InstalledPlugin, is_selective, select_plugins

R = TypeVar("R", Term, Balancer)


class Registry:
    """The loss terms and balancers that can be chosen by name.

    The built-in ones come first. The entry points of installed plugins are loaded only when another name
    is looked up or everything is listed, and never with `discover=False`. A plugin that fails to load is
    listed in `broken()`; it raises an error only when one of its names is chosen. The environment variable
    DISTILL_PLUGINS excludes plugins (`distill.plugin.selection`).

    Raises:
        TermError: DISTILL_PLUGINS names a distribution that has no plugin here.
    """

    def __init__(self, *, discover: bool = True) -> None:
        self._registered: list[Term | Balancer] = []
        self._broken: list[Broken] = []
        self._left_out: tuple[Provenance, ...] = ()
        self._plugins: list[object] = []
        self._undiscovered = discover
        if discover and is_selective():
            select_plugins()  # raises at once, not when another name is looked up
        for plugin in (terms, balancers):
            self.register(plugin, name=PROJECT, version=distill.__version__)

    def register(self, plugin: object, *, name: str, version: str = "") -> None:
        """Register the terms and balancers of a plugin.

        A plugin that is already registered is left unchanged.

        Args:
            plugin: A module, or any object with hooks of `distill.hookspecs`.
            name: The name of its distribution.
            version: The version of its distribution.

        Raises:
            TermError: The plugin breaks the contract in `distill.hookspecs`, or one of its names is taken.
        """
        try:
            self._add(plugin, declared_specs(plugin), name, version)
        except Exception as error:
            raise TermError(
                cause_of(error),
                culprit=f"plugin '{name}'",
                remedy="The docstrings in distill.hookspecs show complete plugins.",
            ) from error

    def terms(self) -> tuple[Term, ...]:
        """Return every usable term, the built-in ones first."""
        self._discover()
        return self._known(Term)

    def balancers(self) -> tuple[Balancer, ...]:
        """Return every usable balancer, the built-in one first."""
        self._discover()
        return self._known(Balancer)

    def broken(self) -> tuple[Broken, ...]:
        """Return the installed plugins that cannot be used."""
        self._discover()
        return tuple(self._broken)

    def left_out(self) -> tuple[Provenance, ...]:
        """Return the installed plugins that DISTILL_PLUGINS excludes."""
        self._discover()
        return self._left_out

    def choose(self, names: str | TermSpec | Iterable[str | TermSpec]) -> tuple[Term, ...]:
        """Return terms by name, alias or `distribution:name`, from `"stft,recon,kl"` or an iterable of names.

        A `TermSpec` among them need not be registered.

        Raises:
            TermError: Names are empty, unknown, ambiguous, chosen twice, or need a broken plugin.
        """
        wanted = [each.strip() if isinstance(each, str) else each for each in one_by_one(names)]
        if "" in wanted or not wanted:
            shown = ",".join(map(_shown, wanted))
            problem = f"a name is empty in '{shown}'" if any(wanted) else "no loss term is chosen"
            raise TermError(problem, remedy=f"Choose from: {self._listing(Term)}")
        chosen, wrong = self._choosable(wanted)
        if wrong:
            raise all_of(wrong)
        return chosen

    def usable(self, names: Iterable[str | TermSpec]) -> tuple[Term, ...]:
        """Return the terms that can be chosen of some which cannot all be chosen."""
        return self._choosable([each.strip() if isinstance(each, str) else each for each in names])[0]

    def _choosable(self, wanted: Sequence[str | TermSpec]) -> tuple[tuple[Term, ...], list[TermError]]:
        chosen: list[tuple[str | TermSpec, Term]] = []
        wrong: list[TermError] = []
        for each in wanted:
            try:
                term = Term.of(each) if isinstance(each, TermSpec) else self._find(Term, _require_name(each))
                for other in chosen:
                    _require_distinct(other, (each, term), wanted)
                chosen.append((each, term))
            except TermError as error:
                wrong.append(error)
        return tuple(term for _, term in chosen), wrong

    def choose_balancer(self, name: str) -> Balancer:
        """Return a balancer by name or `distribution:name`.

        Raises:
            TermError: The name is unknown, ambiguous, or needs a broken plugin.
        """
        if not isinstance(name, str):
            raise TermError(f"expected the name of a balancer, got {name!r}")
        return self._find(Balancer, name.strip())

    def _known(self, kind: type[R]) -> tuple[R, ...]:
        return tuple(each for each in self._registered if isinstance(each, kind))

    def _find(self, kind: type[R], wanted: str) -> R:
        matches = self._matches(kind, wanted)
        if not any(each.is_from(PROJECT) for each in matches):
            self._discover()
            matches = self._matches(kind, wanted)
        if not matches:
            self._fail_to_find(kind, wanted)
        if len(matches) > 1:
            raise TermError(
                f"{kind.kind} '{wanted}' is provided by {' and by '.join(each.origin for each in matches)}",
                remedy=f"Choose one: {' or '.join(f'{each.distribution}:{wanted}' for each in matches)}",
            )
        return matches[0]

    def _matches(self, kind: type[R], wanted: str) -> list[R]:
        distribution, colon, name = wanted.rpartition(":")
        known = self._known(kind)
        return [each for each in known if name in each.names and (not colon or each.is_from(distribution))]

    def _fail_to_find(self, kind: type[R], wanted: str) -> NoReturn:
        distribution, colon, name = wanted.rpartition(":")
        suspects = [plugin for plugin in self._broken if not colon or plugin.is_from(distribution)]
        listing = self._listing(kind)
        for plugin in suspects:
            if name in plugin.names:
                raise TermError(
                    f"{kind.kind} '{name}' cannot be loaded: {plugin.cause}",
                    culprit=plugin.origin,
                    remedy=f"Repair or uninstall {plugin.distribution}, or choose from: {listing}",
                ) from plugin.error
        known = self._known(kind)
        home = home_of(name) if kind is Term else None
        left_out = home is not None and any(plugin.is_from(home) for plugin in self._left_out)
        if home is not None and not left_out and (not colon or normalized(distribution) == home):
            raise TermError(
                f"loss term '{name}' belongs to {home}, which is not installed",
                remedy=f"Install it from a clone of Distill: pip install ./plugins/{home}\n"
                f"Or choose from: {listing}",
            )
        if colon:
            problem = f"no installed distribution '{distribution}' provides a {kind.kind} '{name}'"
            remedy = f"Install the one that does, or choose from: {listing}"
            names = [f"{each.distribution}:{name}" for each in known for name in each.names]
        else:
            problem = f"unknown {kind.kind} '{name}'"
            remedy = f"Choose from: {listing}"
            names = [name for each in known for name in each.names]
        if suspects:
            remedy += "\nIt may belong to a plugin that cannot be loaded:"
            remedy += "".join(f"\n  {plugin.origin}: {plugin.cause}" for plugin in suspects)
        if self._left_out:
            origins = dict.fromkeys(plugin.origin for plugin in self._left_out)
            remedy += f"\nLeft out by {VARIABLE} or --no-plugins: {', '.join(origins)}"
        raise TermError(problem + suggest(wanted, names), remedy=remedy)

    def _listing(self, kind: type[R]) -> str:
        self._discover()
        return ", ".join(" or ".join(each.names) for each in self._known(kind))

    def _discover(self) -> None:
        if self._undiscovered:
            self._undiscovered = False
            selection = select_plugins()
            self._left_out = selection.left_out
            for plugin in selection.loaded:
                self._load(plugin)

    def _load(self, installed: InstalledPlugin) -> None:
        entry_point = installed.entry_point
        names = [entry_point.name]
        code = ForeignCode()
        try:
            with code:
                plugin = entry_point.load()
                specs = declared_specs(plugin)
            names += [name for spec in specs for name in spec.names]
            self._add(plugin, specs, installed.distribution, installed.version, entry_point.name)
        except BaseException as error:
            if not code.raised_by_code(error):
                raise
            self._broken.append(
                Broken(
                    distribution=installed.distribution,
                    version=installed.version,
                    entry_point=entry_point.name,
                    error=error,
                    names=tuple(names),
                )
            )

    def _add(
        self,
        plugin: object,
        specs: Sequence[TermSpec | BalancerSpec],
        distribution: str,
        version: str,
        entry_point: str = "",
    ) -> None:
        # Two entry points may name one module: of one distribution, or of a leftover installation.
        if any(plugin is known for known in self._plugins):
            return
        origin = {"distribution": distribution, "version": version, "entry_point": entry_point}
        added = [
            Term(spec=spec, **origin) if isinstance(spec, TermSpec) else Balancer(spec=spec, **origin)
            for spec in specs
        ]
        taken: dict[tuple[str, str], Term | Balancer] = {
            (each.kind, name): each
            for each in self._registered
            if each.is_from(PROJECT) or each.is_from(distribution)
            for name in each.names
        }
        for each in added:
            for name in each.names:
                if (each.kind, name) in taken:
                    raise TermError(f"the name '{name}' is taken by {taken[each.kind, name]}")
                taken[each.kind, name] = each
        self._registered += added
        self._plugins.append(plugin)


def _shown(wanted: str | TermSpec) -> str:
    return wanted.name if isinstance(wanted, TermSpec) else wanted


def one_by_one(names: str | TermSpec | Iterable[str | TermSpec]) -> list[str | TermSpec]:
    """Return terms as a list, given comma-separated, one by one, or as a single `TermSpec`.

    Raises:
        TermError: They are something else.
    """
    if isinstance(names, str):
        return [*names.split(",")]
    if isinstance(names, TermSpec):
        return [names]
    if isinstance(names, Mapping):
        raise TermError(
            f"expected the names of loss terms, got a {type(names).__name__}",
            remedy='Pass weights as options, such as {"stft.weight": 2.0}.',
        )
    return [*names] if isinstance(names, Iterable) else [_require_name(names)]


def _require_name(wanted: object) -> str:
    if isinstance(wanted, str):
        return wanted
    raise TermError(
        f"expected the name of a loss term or a TermSpec, got {wanted!r}",
        remedy="A TermSpec(name=..., config=..., build=..., summary=...) makes a term of a module.",
    )


def _require_distinct(
    one: tuple[str | TermSpec, Term], other: tuple[str | TermSpec, Term], wanted: Sequence[str | TermSpec]
) -> None:
    """Require two of the `wanted` terms to share no name. Each comes with the way it was asked for.

    Raises:
        TermError: They share a name.
    """
    (first, term), (again, later) = one, other
    specs = [each for each in (first, again) if isinstance(each, TermSpec)]
    if term.name == later.name:
        ways = dict.fromkeys(
            f"as a TermSpec of {each.config.__module__}" if isinstance(each, TermSpec) else f"as '{each}'"
            for each in (first, again)
        )
        told = f", {' and '.join(ways)}" if specs or len(ways) > 1 else ""
        weight = f"{term.name}.{term.spec.config.weight_option}"
        raise TermError(
            f"loss term '{term.name}' is chosen twice in '{','.join(map(_shown, wanted))}'{told}; "
            "each is expected once",
            remedy="Leave one out, or give a TermSpec another name."
            if specs
            else f"Leave one out. If it is to count more, set its weight: {weight}",
        )
    shared = [name for name in later.names if name in term.names]
    if shared and specs:
        raise TermError(
            f"the loss terms '{term.name}' and '{later.name}' share the name '{shared[0]}'",
            remedy="Choose another name or alias for the TermSpec.",
        )
