"""The origins of terms and balancers: a distribution, or the name under which a plugin was registered."""

import re

from attrs import frozen


@frozen(kw_only=True)
class Provenance:
    """The distribution that provides a term, a balancer or a plugin."""

    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Return the distribution with its version, if it has one."""
        return f"{self.distribution} {self.version}".rstrip()

    def is_from(self, distribution: str) -> bool:
        """Return whether this is the distribution's name, compared as installers do (PEP 503)."""
        return normalized(self.distribution) == normalized(distribution)


def normalized(distribution: str) -> str:
    """Return the name of a distribution as installers compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
