"""The environment variable DISTILL_PLUGINS, which selects the installed plugins that may be loaded."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from distill.config import suggest
from distill.errors import TermError
from distill.plugin.hookspecs import PROJECT
from distill.plugin.provenance import Provenance, normalized

VARIABLE = "DISTILL_PLUGINS"
NONE = "none"


@frozen(kw_only=True)
class InstalledPlugin(Provenance):
    """An installed plugin that is not imported yet."""

    entry_point: EntryPoint


@frozen(kw_only=True)
class Selection:
    """The installed plugins that may be loaded, and those that are excluded."""

    loaded: tuple[InstalledPlugin, ...]
    left_out: tuple[InstalledPlugin, ...] = ()


def is_selective() -> bool:
    """Return whether DISTILL_PLUGINS is set and not empty."""
    return bool(os.environ.get(VARIABLE))


def select_plugins() -> Selection:
    """Return the installed plugins that DISTILL_PLUGINS selects, without importing any.

    Unset or empty, it selects all of them; `none` selects none. A comma-separated list of distributions
    selects only those. Names with a minus sign in front are excluded.

    Raises:
        TermError: A name is not that of an installed distribution with a plugin.
    """
    plugins = tuple(
        InstalledPlugin(distribution=point.dist.name, version=point.dist.version, entry_point=point)
        for point in sorted(entry_points(group=PROJECT))
        if point.dist is not None  # only None for an entry point constructed in code
    )
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",")]
    names = [word for word in words if word]
    if names == [NONE]:
        return Selection(loaded=(), left_out=plugins)
    _require_known(names, plugins)
    excluded = {normalized(name[1:]) for name in names if name.startswith("-")}
    included = {normalized(name) for name in names if not name.startswith("-")}

    def is_loaded(plugin: InstalledPlugin) -> bool:
        name = normalized(plugin.distribution)
        return name not in excluded and (not included or name in included)

    return Selection(
        loaded=tuple(plugin for plugin in plugins if is_loaded(plugin)),
        left_out=tuple(plugin for plugin in plugins if not is_loaded(plugin)),
    )


@contextmanager
def no_plugins() -> Iterator[None]:
    """Exclude all plugins, in this process and in those that it starts."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = NONE
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _require_known(names: Sequence[str], plugins: Sequence[InstalledPlugin]) -> None:
    known = sorted({plugin.distribution for plugin in plugins})
    wanted = [name.removeprefix("-") for name in names]
    unknown = [name for name in wanted if not any(plugin.is_from(name) for plugin in plugins)]
    if unknown:
        raise TermError(
            "\n".join(
                f"no installed distribution '{name}' has a plugin{suggest(name, known)}" for name in unknown
            ),
            culprit=VARIABLE,
            remedy=f"Choose from: {', '.join([*known, NONE])}",
        )
