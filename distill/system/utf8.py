"""Paths and UTF-8: names that are not valid text, and where Python is told to read paths as ASCII.

Imports only the standard library.
"""

import os
import sys


def as_text(path: str | os.PathLike[str]) -> str:
    r"""Return a path as valid text, with bytes that are not UTF-8 as escapes, such as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def reads_paths_as_ascii() -> bool:
    """Return whether Python encodes paths as ASCII here, as with LC_ALL=C and PYTHONUTF8=0."""
    return sys.getfilesystemencoding() == "ascii"


def read_paths_as_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode if it reads paths as ASCII, or return if it does not.

    It could open no file whose name has other letters, also where a recipe names it. What is read from and
    printed on the standard streams keeps its encoding.
    """
    if not reads_paths_as_ascii() or os.environ.get("PYTHONUTF8") == "1":  # the latter: -X utf8=0
        return
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    streams = {"PYTHONIOENCODING": f"{encoding}:surrogateescape"}
    environment = streams | dict(os.environ) | {"PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  # the same command
