"""The specs that the hooks of a plugin yield."""

import pluggy

from distill.config import require_readable, suggest
from distill.errors import TermError
from distill.plugin import hookspecs
from distill.plugin.hookspecs import PROJECT, BalancerSpec, TermSpec


def declared_specs(plugin: object) -> list[TermSpec | BalancerSpec]:
    """Return the specs of a plugin, a module or any object with hooks.

    Raises:
        TermError: A hook is misspelt or yields something else, or there is no spec.
    """
    # One manager per plugin, so that errors and specs are attributed to this plugin.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = [hook.name for hook in manager.get_hookcallers(plugin) or () if not hook.has_spec()]
        known = [name for name in vars(hookspecs) if hasattr(manager.hook, name)]
        raise TermError(f"unknown hook '{unknown[0]}'{suggest(unknown[0], known)}") from error
    declared: list[TermSpec | BalancerSpec] = []
    for hook, record in (
        (manager.hook.distill_loss_terms, TermSpec),
        (manager.hook.distill_balancers, BalancerSpec),
    ):
        for spec in (spec for specs in hook() for spec in specs):
            if not isinstance(spec, record):
                raise TermError(f"'{hook.name}' yields {spec!r}, not a {record.__name__}")
            require_readable(spec.config)
            declared.append(spec)
    if not declared:
        raise TermError(
            "none of its hooks, @hookimpl 'distill_loss_terms' or 'distill_balancers', yields a spec"
        )
    return declared
