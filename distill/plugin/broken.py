"""Plugins that cannot be used, and why."""

import re

import pluggy
from attrs import frozen

from distill.errors import DistillError
from distill.plugin.provenance import Provenance


@frozen(kw_only=True)
class Broken(Provenance):
    """An installed plugin that cannot be used, and why."""

    entry_point: str
    error: BaseException
    names: tuple[str, ...]
    """The names that need this plugin: its entry point's, and those of the terms it declared."""

    @property
    def cause(self) -> str:
        """Return in one line why the plugin cannot be used."""
        return cause_of(self.error)


def cause_of(error: BaseException) -> str:
    """Return the message of an exception in one line, after its type unless Distill or pluggy raised it."""
    text = str(error)
    if isinstance(error, DistillError):
        text = re.sub(r"(?<=[^.:;?!])\n", ". ", text)  # a remedy is a sentence of its own
    text = " ".join(text.split())
    if isinstance(error, DistillError | pluggy.PluginValidationError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")
