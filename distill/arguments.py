"""Checks of the arguments of public functions. Loads no torch."""

import errno
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from distill.errors import CorpusError, InputError
from distill.system.utf8 import reads_paths_as_ascii

_LONGEST_SHOWN = 60
"""Characters of a value in a message."""

_MOST_STEPS = 2**63

NO_URL = "Pass a file or folder of this machine, such as a downloaded copy."
"""The remedy where a URL is given for a path."""

_URL_AS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The beginning of what `Path` makes of a URL. A single letter before the colon is a drive."""


def whole_number(value: Any, *, culprit: str, least: int | None = None, below: int | None = None) -> int:  # noqa: ANN401  # anything
    """Return a whole number as an `int`, NumPy's too.

    Raises:
        InputError: it is not a whole number, is less than `least`, or is not less than `below`.
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError):
        number = None
    whole = None if isinstance(value, bool) else number
    if whole is not None and (least is None or whole >= least) and (below is None or whole < below):
        return whole
    expected = "a whole number"
    if least is not None:
        expected += f" from {least} on" if below is None else f" within {least}..{below - 1}"
    got = shown(value if whole is None else whole)
    raise InputError(f"expected {expected}, got {got}", culprit=culprit)


def finite_number(
    value: Any,  # noqa: ANN401  # anything
    *,
    culprit: str,
    within: tuple[float, float] | None = None,
    remedy: str = "",
) -> float:
    """Return a finite number.

    Raises:
        InputError: it is not a finite number, or not `within` two bounds.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number of hundreds of digits
            number = float(value)
            if math.isfinite(number) and (within is None or within[0] <= number <= within[1]):
                return number
    expected = "a finite number" if within is None else f"a number within {within[0]:g}..{within[1]:g}"
    raise InputError(f"expected {expected}, got {shown(value)}", culprit=culprit, remedy=remedy)


def path_like(value: Any, *, culprit: str, expected: str, recorded: bool = True) -> Path:  # noqa: ANN401  # anything
    """Return a path, with `~` replaced by the home folder.

    A path that is not `recorded` in any file need not be valid text.

    Raises:
        InputError: the value is neither a `str` nor a path, is a URL, is not valid text, or cannot be looked
            up; or Python reads paths as ASCII.
    """
    path = _as_path(value, culprit=culprit, expected=expected, text=recorded, instead=NO_URL)
    if is_url(os.fspath(value)):
        raise InputError(
            f"expected {expected}, got the URL {os.fspath(value)}", culprit=culprit, remedy=NO_URL
        )
    require_reachable(path)
    return path


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a path."""
    return "://" in location


def _as_path(value: Any, *, culprit: str, expected: str, instead: str, text: bool = True) -> Path:  # noqa: ANN401  # anything
    """Return a path, or raise an `InputError`. `instead` is the remedy for a URL that was made a path."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise InputError(f"expected {expected}, got {shown(value)}", culprit=culprit)
    if not os.fspath(value):  # an unset variable, which `Path` takes for the current folder
        raise InputError(
            f"expected {expected}, got empty text", culprit=culprit, remedy="Pass . for the current folder."
        )
    path = Path(value)
    if not isinstance(value, str) and _URL_AS_PATH.match(str(path)) and not os.path.lexists(path):
        # `Path` makes one slash of two, so that the URL is lost.
        raise InputError(f"expected {expected}, got a URL as a path: {path}", culprit=culprit, remedy=instead)
    if reads_paths_as_ascii() and not str(path).isascii():
        problem = "Python reads paths as ASCII here, and this one has other letters"
        remedy = "Start Python in its UTF-8 mode: with PYTHONUTF8=1 in the environment, or python -X utf8."
        raise InputError(f"{problem}: {path}", culprit=culprit, remedy=remedy)
    if "\0" in str(path) or (text and not is_text(path)):
        remedy = "Rename it, or choose another path: the files of a run can name only what is valid text."
        raise InputError("its path is not valid text (UTF-8)", culprit=str(path), remedy=remedy)
    with suppress(RuntimeError):  # no user of that name, so the name is that of a folder
        path = path.expanduser()
    return path


def require_reachable(path: Path) -> None:
    """Check that the system can tell whether there is something at a path.

    Raises:
        InputError: the path is too long, or a folder on the way to it may not be searched.
    """
    try:
        path.exists()
    except OSError as error:
        long = error.errno == errno.ENAMETOOLONG
        raise InputError(
            f"cannot be looked up: {error.strerror}",
            culprit=str(path),
            remedy="Pass a shorter path."
            if long
            else "Make sure that you may search the folders on the way to it, or choose another path.",
        ) from error


def no_file(path: str | Path) -> str:
    """Return why there is no ordinary file at a path. A pipe or a device would be waited for."""
    if os.path.isdir(path):  # noqa: PTH112  # no error where it may not be looked at, or is too long
        return "is a folder"
    return "is not an ordinary file" if os.path.exists(path) else "there is no such file"  # noqa: PTH110  # as above


def no_folder(path: str | Path, kind: str = "folder") -> str:
    """Return why there is no folder of a kind at a path."""
    return "is not a folder" if os.path.exists(path) else f"there is no such {kind}"  # noqa: PTH110  # as above


def corpus_location(value: Any, *, culprit: str = "corpus", recorded: bool = True) -> str:  # noqa: ANN401  # anything
    """Return the location of a corpus in the form that recipes use: a URL unchanged, a path made absolute.

    A path that is not `recorded` in any file need not be valid text.

    Raises:
        InputError: the value is neither a `str` nor a path, or is not valid text.
    """
    remedy = "Pass a URL as a str, not as a Path."
    path = _as_path(value, culprit=culprit, expected="a path or a URL", instead=remedy, text=recorded)
    return os.fspath(value) if is_url(os.fspath(value)) else absolute(path)


def absolute(path: str | Path) -> str:
    """Return an absolute path without links, as far as they can be followed."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a link that may not be read, or a zero byte
        return os.path.abspath(path)  # noqa: PTH100  # as text


def require_corpus(location: str | Path | None) -> None:
    """Check that a corpus is there, unless it is at a URL, or None for the demo corpus.

    Raises:
        CorpusError: there is no such file or folder, or it cannot be read.
    """
    if location is None or is_url(str(location)):
        return
    try:
        Path(location).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorpusError(
            "there is no such file or folder",
            culprit=str(location),
            remedy="Pass a folder of recordings, or a single recording.",
        ) from error
    except OSError as error:
        raise CorpusError(
            f"cannot be read: {error.strerror}",
            culprit=str(location),
            remedy="Make sure that you may read it, or choose another folder of recordings.",
        ) from error


def is_equal(one: object, other: object) -> bool:
    """Return whether two values are equal, or one object. Two arrays, not compared as a whole, are not."""
    try:
        return one is other or bool(one == other)
    except (RuntimeError, TypeError, ValueError):
        return False


def is_text(path: object) -> bool:
    """Return whether a path is valid text: encodable as UTF-8, and without zero bytes."""
    try:
        return b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        return False


def checkpoint_like(value: Any, *, culprit: str) -> int | Literal["last", "best"]:  # noqa: ANN401  # anything
    """Return the choice of a checkpoint: the last, the best, or that of a step, also as digits.

    Raises:
        InputError: the value is none of these.
    """
    if isinstance(value, str) and value in ("last", "best"):
        return value  # type: ignore[return-value]  # one of the two
    with suppress(TypeError, ValueError):
        step = int(value) if isinstance(value, str) else operator.index(value)
        if 0 <= step < _MOST_STEPS and not isinstance(value, bool):
            return step
    raise InputError(
        f"expected 'best', 'last' or the step of a checkpoint, got {shown(value)}", culprit=culprit
    )


def options_by_address(
    options: Any,  # noqa: ANN401  # anything
    *,
    culprit: str,
    expected: str = "values by their address",
    example: str = '{"stft.weight": 2.0}',
) -> list[tuple[str, Any]]:
    """Return options as pairs of an address and a value, given as a mapping or as pairs.

    Raises:
        InputError: they are neither, or an address is not a `str`.
    """
    pairs = options.items() if isinstance(options, Mapping) else options
    if isinstance(pairs, Iterable) and not isinstance(pairs, str | bytes):
        listed = list(pairs)
        if all(map(_is_address_and_value, listed)):
            return [(address, value) for address, value in listed]
    raise InputError(
        f"expected {expected}, got {shown(options)}",
        culprit=culprit,
        remedy=f"Pass a dict, such as {example}.",
    )


def optional_callable(value: Any, *, culprit: str) -> Callable[..., Any] | None:  # noqa: ANN401  # anything
    """Return a function, or None.

    Raises:
        InputError: the value can not be called.
    """
    if value is not None and not callable(value):
        remedy = "Pass a function, or leave it out."
        raise InputError(f"expected a function, got {shown(value)}", culprit=culprit, remedy=remedy)
    return value


def _is_address_and_value(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)


def shown(value: object) -> str:
    """Return a value for a message: its `repr`, or its type if that is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more than 4300 digits, or a value of many levels
        text = ""
    if text and len(text) <= _LONGEST_SHOWN:
        return text
    if isinstance(value, int):
        return f"a number of about {round(value.bit_length() * math.log10(2))} digits"
    return f"a {type(value).__name__}"
