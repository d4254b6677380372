"""Words of messages about a training run."""

from collections.abc import Sequence

_SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """Return a list of names, shortened."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
