"""What is said of an error that a term raises: what it is, and where it was raised. Loads no torch."""

import importlib.util
import traceback
from pathlib import Path


def described(error: BaseException) -> str:
    """Return the type, the message and the place of an error: `"ValueError: no bands (mine.py:17)"`."""
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{message} ({where})" if (where := place(error)) else message


def place(error: BaseException) -> str:
    """Return the file and the line where the code of a term raised an error, "" if that is not known.

    It is the innermost call outside of Distill and torch, or the innermost of all if there is none. A file
    below the current folder is named from there.
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
