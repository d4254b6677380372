"""What a protection is, and what replaces one so that it protects nothing."""

import os
import pickle
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from attrs import frozen

from distill.reporting.document import environment
from distill.storage.checkpoint_files import checkpoint_paths


@frozen
class Protection:
    """A protection: the object that is replaced, what replaces it, and a test that must fail then.

    `code` replaces it in processes that the test begins, which import Distill themselves.
    """

    name: str
    target: str
    instead: Any
    test: str
    code: str = ""

    def switch_off(self, folder: Path) -> None:
        """Replace it for the rest of the process, or with a file in `folder` in those that it begins."""
        if self.code:
            lines = ["from unittest.mock import patch", f"patch({self.target!r}, {self.code}).start()"]
            (folder / "sitecustomize.py").write_text("\n".join(lines))
            sys.path.insert(0, str(folder))
            os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
            return
        replaced = resolve_name(self.target)
        patch(self.target, self.instead).start()
        if not callable(replaced):
            return
        for name, module in [*sys.modules.items()]:
            if name.startswith("distill."):
                for attribute in [key for key, value in vars(module).items() if value is replaced]:
                    patch.object(module, attribute, self.instead).start()


def nothing(*_: Any, **__: Any) -> None:  # noqa: ANN401  # in the place of any function
    """Do nothing."""


def always(value: Any) -> Callable[..., Any]:  # noqa: ANN401  # as above
    """Return a function that returns a value."""
    return lambda *_, **__: value


def as_it_is(value: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401  # as above
    """Return the first argument."""
    return value


def as_the_second(_: Any, value: Any) -> Any:  # noqa: ANN401  # as above
    """Return the second argument."""
    return value


def as_it_was_raised(_: object, error: Exception) -> None:
    """Raise the error again."""
    raise error


@contextmanager
def in_place(path: Path) -> Iterator[Any]:
    """Write a file where it is, neither beside it nor flushed."""
    with path.open("w+b") as file:
        yield file


@contextmanager
def unlocked(*_: Any, **__: Any) -> Iterator[Any]:  # noqa: ANN401  # as above
    """Lock nothing."""
    yield SimpleNamespace(warning=None, is_ours=lambda: True, require=nothing)


@contextmanager
def unshared(*_: Any, **__: Any) -> Iterator[Any]:  # noqa: ANN401  # as above
    """Wait for no other process."""
    yield SimpleNamespace(alone=True, show=nothing)


def unpickled(path: Path, **_: Any) -> Any:  # noqa: ANN401  # as above
    """Load a file as `torch.load` did for years."""
    return pickle.loads(path.read_bytes())  # noqa: S301  # what must not be done


def the_newest_alone(folder: Path) -> dict[int, Path]:
    """Return the newest checkpoint of a folder."""
    return dict([*checkpoint_paths(folder).items()][-1:])


def mapped(descriptor: int, _: str) -> Any:  # noqa: ANN401  # as above
    """Map a file into memory."""
    return np.memmap(os.fdopen(os.dup(descriptor), "rb"), "<f4", "r")


def unescaped(*folders: Path) -> Any:  # noqa: ANN401  # as above
    """Return templates that escape nothing."""
    made = environment(*folders)
    made.autoescape = False
    return made


_OPEN = tarfile.open


def decompressing(*arguments: Any, mode: str = "r", **options: Any) -> Any:  # noqa: ANN401  # as above
    """Open a tar file that may be compressed."""
    return _OPEN(*arguments, mode=mode.replace("r|", "r|*"), **options)
