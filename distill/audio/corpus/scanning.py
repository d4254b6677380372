"""The search for audio files in a folder."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import soundfile
from attrs import frozen

_READABLE = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    *(".8svx", ".aif", ".aifc", ".bwf", ".iff", ".mat", ".mp1", ".mp2", ".oga", ".opus", ".sf", ".snd"),
    *(".sph", ".wave"),
}
# Audio that libsndfile cannot read is listed as skipped instead of being ignored.
_UNREADABLE = {".aac", ".alac", ".amr", ".ape", ".dsf", ".m4a", ".wma", ".wv"}
# A .raw file has no header.
AUDIO_SUFFIXES = frozenset((_READABLE | _UNREADABLE) - {".raw"})

_RUN = "recipe.toml"


@frozen
class Skipped:
    """A file or folder that is skipped: its `path` in the corpus, with slashes, and the `reason`."""

    path: str
    reason: str


@frozen
class Candidate:
    """A file that may hold audio: its `name` is the path in the corpus, with slashes, `size` is in bytes."""

    path: Path
    name: str
    size: int
    mtime_ns: int


@frozen
class Found:
    """The audio files of `source`, sorted by name, and files and folders that cannot be accessed."""

    source: Path
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...]


def find_audio(source: Path) -> Found:
    """Return the audio files in a folder and its subfolders, by their suffixes, or a single file as it is.

    Names that begin with a dot are ignored, and so are run folders inside the folder, whose sounds are the
    output of a model. Links to folders are followed. A folder that is reached twice is listed once, so that
    cyclic links end.
    """
    if not source.is_dir():
        return _sort(source, source.parent, [source], [])
    unlistable: list[OSError] = []
    return _sort(source, source, list(_walk(source, unlistable)), unlistable)


def _walk(folder: Path, unlistable: list[OSError]) -> Iterator[Path]:
    visited = set()
    for parent, folders, files in os.walk(folder, onerror=unlistable.append, followlinks=True):
        identity = os.path.realpath(parent)
        if identity in visited:
            folders.clear()
            continue
        visited.add(identity)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not Path(parent, name, _RUN).is_file()
        )
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES:
                yield Path(parent, name)


def _sort(source: Path, root: Path, paths: list[Path], unlistable: list[OSError]) -> Found:
    candidates = []
    skipped = [
        Skipped(_printable(_name(Path(error.filename), root)), f"cannot be listed: {error.strerror}")
        for error in unlistable
    ]
    for path in paths:
        name = _name(path, root)
        try:
            name.encode()
            status = path.stat()
        except UnicodeEncodeError:
            skipped.append(Skipped(_printable(name), "has a name that is not valid text"))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be read: {error.strerror}"))
        else:
            if stat.S_ISREG(status.st_mode):
                candidates.append(Candidate(path, name, status.st_size, status.st_mtime_ns))
            else:
                skipped.append(Skipped(name, "is not a file"))
    return Found(source, tuple(sorted(candidates, key=lambda found: found.name)), tuple(skipped))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _printable(name: str) -> str:
    return name.encode(errors="replace").decode()
