"""The common parts of pages: templates, scripts, data and the policy that a browser enforces.

Whatever a run contains is data: text is escaped by the templates, figures and sounds are JSON in a script of
a type that no browser executes, and the policy of a page allows no scripts but its own, by their digests,
and no connections.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"

_SPOILING = re.compile("[\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Halves of surrogate pairs, and marks that turn the direction of text: embeddings, overrides, isolates."""


def environment(*folders: Path) -> jinja2.Environment:
    """Return the templates in folders, which escape what is put into them."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_showable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _showable(value: Any) -> Any:  # noqa: ANN401  # whatever a template shows
    """Return a value as it is, or text without what would spoil a page.

    JSON and a run that comes from a stranger may hold halves of surrogate pairs, and UTF-8 and so a page may
    not. Marks that turn the direction of the text after them would turn that of the page's own words.
    """
    if not isinstance(value, str) or value.isascii() or not _SPOILING.search(value):
        return value
    return _SPOILING.sub("\N{REPLACEMENT CHARACTER}", value)


def _all_showable(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON data with the same texts and keys as templates show."""
    if isinstance(value, Mapping):
        return {_showable(key): _all_showable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [each if isinstance(each, float | int) else _all_showable(each) for each in value]
    return _showable(value)


def joined(folder: Path, *names: str) -> str:
    """Return the contents of files one after the other, as one script or style sheet."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def encoded(content: bytes) -> str:
    """Return the content of a file in base 64."""
    return base64.b64encode(content).decode()


def as_json(value: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the script that holds it, whatever the strings in it are."""
    text = json.dumps(_all_showable(value), allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def plotly_library() -> str:
    """Return Plotly's JavaScript, which its wheel brings."""
    return files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")


def policy_of(*scripts: str) -> str:
    """Return the policy of the page, which allows these scripts and no connections."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "media-src data: blob:; base-uri 'none'; form-action 'none'"
    )
