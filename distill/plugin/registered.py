"""Loss terms and balancers of a registry: a spec, where it came from, how it is built and pickled."""

import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from attrs import frozen

from distill.errors import TermError
from distill.plugin.broken import cause_of
from distill.plugin.declared import declared_specs
from distill.plugin.foreign import ForeignCode
from distill.plugin.hookspecs import BalancerConfig, BalancerSpec, BaseTermConfig, TermSpec
from distill.plugin.provenance import Provenance
from distill.plugin.selection import VARIABLE, InstalledPlugin, select_plugins

if TYPE_CHECKING:
    from torch import nn


@frozen(kw_only=True)
class _Registered(Provenance):
    """A registered spec of the type `record`; its options are in the recipe section `section`."""

    kind: ClassVar[str]
    section: ClassVar[str]
    record: ClassVar[type[Any]]
    spec: TermSpec | BalancerSpec
    entry_point: str = ""
    """The entry point of an installed plugin; empty if it was registered in Python."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Installed terms are pickled by name, since a builder may be a lambda.
        if self.entry_point:
            return _installed, (type(self), self.distribution, self.version, self.entry_point, self.name)
        return _registered, (type(self), self.distribution, self.version, self.spec)

    def __deepcopy__(self: Self, _: object) -> Self:
        return self

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"

    @property
    def name(self) -> str:
        """Return the canonical name."""
        return self.spec.name

    @property
    def names(self) -> tuple[str, ...]:
        """Return the canonical name, then the aliases."""
        return self.spec.names

    def _build(self, *arguments: object) -> "nn.Module":
        from torch import nn  # noqa: PLC0415  # listing terms loads no torch

        builder: Any = self.spec.build
        code = ForeignCode()
        try:
            with code:
                if isinstance(builder, str):
                    builder = pkgutil.resolve_name(builder)
                module = builder(*arguments)
            if not isinstance(module, nn.Module):
                raise TypeError(f"expected an nn.Module, got {module!r}")  # noqa: TRY301  # reported below
        except BaseException as error:
            if not code.raised_by_code(error):
                raise
            raise TermError(
                f"the {self.kind} cannot be built: {cause_of(error)}",
                culprit=str(self),
                remedy=f"If its options are right, report this to the authors of {self.distribution}.",
            ) from error
        return module


def module_of(spec: TermSpec) -> str:
    """Return the name of the module that defines a term's builder."""
    return spec.build.partition(":")[0] if isinstance(spec.build, str) else spec.build.__module__


@frozen(kw_only=True)
class Term(_Registered):
    """A registered loss term."""

    kind: ClassVar[str] = "loss term"
    section: ClassVar[str] = "loss"
    record: ClassVar[type[Any]] = TermSpec
    spec: TermSpec

    @classmethod
    def of(cls, spec: TermSpec) -> "Term":
        """Return an unregistered term. Its distribution is the package of its builder."""
        return cls(spec=spec, distribution=module_of(spec).partition(".")[0], version="")

    def build(self, config: BaseTermConfig) -> "nn.Module":
        """Build the term's module from its config.

        Raises:
            TermError: The builder cannot be imported, raises, or returns something else.
        """
        return self._build(config)


@frozen(kw_only=True)
class Balancer(_Registered):
    """A registered balancer."""

    kind: ClassVar[str] = "balancer"
    section: ClassVar[str] = "balancing"
    record: ClassVar[type[Any]] = BalancerSpec
    spec: BalancerSpec

    def build(self, config: BalancerConfig, terms: tuple[str, ...]) -> "nn.Module":
        """Build the balancer's module from its config and the names of the terms.

        Raises:
            TermError: The builder cannot be imported, raises, or returns something else.
        """
        return self._build(config, terms)


def _registered(
    kind: type[Term] | type[Balancer],
    distribution: str,
    version: str,
    spec: Any,  # noqa: ANN401  # of that kind
) -> Term | Balancer:
    return kind(distribution=distribution, version=version, spec=spec)


def _installed(
    kind: type[Term] | type[Balancer], distribution: str, version: str, entry_point: str, name: str
) -> Term | Balancer:
    """Return an installed term or balancer that was pickled by name.

    Raises:
        TermError: It is not installed in the environment that unpickles it.
    """
    selection = select_plugins()

    def is_meant(plugin: InstalledPlugin) -> bool:
        return plugin.entry_point.name == entry_point and plugin.is_from(distribution)

    for plugin in filter(is_meant, selection.loaded):
        specs: Sequence[Any] = declared_specs(plugin.entry_point.load())
        for spec in specs:
            if isinstance(spec, kind.record) and spec.name == name:
                return kind(
                    distribution=plugin.distribution,
                    version=plugin.version,
                    spec=spec,
                    entry_point=entry_point,
                )
    if any(map(is_meant, selection.left_out)):
        raise TermError(
            f"{kind.kind} '{name}' of {distribution} {version} is left out by {VARIABLE}",
            remedy=f"Unset {VARIABLE}, or let it include {distribution}.",
        )
    raise TermError(
        f"{kind.kind} '{name}' of {distribution} {version} is not installed here",
        remedy=f"Install it: pip install {distribution}=={version}",
    )
