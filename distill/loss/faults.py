"""Descriptions of errors that a term raises, with file and line. Imports no torch."""

import importlib.util
import traceback
from pathlib import Path

from distill.errors import DistillError, TermError
from distill.plugin.hookspecs import BaseTermConfig
from distill.plugin.registered import Term
from distill.system.stopping import is_stop


def fault_of(term: Term, error: BaseException) -> TermError:
    """Return the error that the code of a term raised another one, with its place."""
    return TermError(
        f"the term raised {described(error)}",
        culprit=str(term),
        remedy=f"See what breaks it: distill losses check {term.name}",
    )


def weight_at(term: Term, config: BaseTermConfig, progress: float) -> float:
    """Return the weight of a term at a progress of 0..1.

    Raises:
        TermError: the config of the term raised an error.
    """
    try:
        return config.weight_at(progress)
    except DistillError:
        raise
    except BaseException as error:
        if is_stop(error):
            raise
        raise fault_of(term, error) from error


def described(error: BaseException) -> str:
    """Return the type, message and place of an error, such as `"ValueError: no bands (mine.py:17)"`."""
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{message} ({where})" if (where := place(error)) else message


def place(error: BaseException) -> str:
    """Return the file and line where the code of a term raised an error, or "" if unknown.

    This is the innermost call outside of Distill and torch or, if there is none, the innermost call. The path
    of a file in the current folder is relative.
    """
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not Path(frame.filename).is_relative_to(_DISTILL)]
    own = [frame for frame in outside if not Path(frame.filename).is_relative_to(_folder("torch"))]
    if not frames:
        return ""
    frame = (own or frames)[-1]
    file = Path(frame.filename)
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{frame.lineno}"


_DISTILL = Path(__file__).parents[1]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path(package)
