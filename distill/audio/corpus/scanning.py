"""The search for audio files in a folder."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import soundfile
from attrs import frozen

from distill.errors import printable
from distill.system.utf8 import as_text

_READABLE = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    *(".8svx", ".aif", ".aifc", ".bwf", ".iff", ".mat", ".mp1", ".mp2", ".oga", ".opus", ".sf", ".snd"),
    *(".sph", ".wave"),
}
# Audio and video that libsndfile cannot read is opened, too: its suffix may be wrong.
_UNREADABLE = {
    *(
        ".3gp",
        ".aac",
        ".ac3",
        ".alac",
        ".amr",
        ".ape",
        ".avi",
        ".dff",
        ".dsf",
        ".dts",
        ".flv",
        ".m4a",
        ".m4b",
    ),
    *(".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mpg", ".ogv", ".ra", ".shn", ".tak", ".tta", ".webm", ".wma"),
    *(".wmv", ".wv"),
}
# A .raw file has no header.
AUDIO_SUFFIXES = frozenset((_READABLE | _UNREADABLE) - {".raw"})

_OTHER = "is not audio, by its name"
_HIDDEN = "is hidden: its name begins with a dot"
_SOUNDS_OF_A_RUN = "is a run folder, whose sounds are the output of a model"
_RUN = "recipe.toml"
_SHOWN = 3


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
    """The audio files of `source`, sorted by name, and everything else in it: files and folders."""

    source: Path
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...]


def find_audio(source: Path) -> Found:
    """Return the audio files in a folder and its subfolders, by their suffixes, or a single file as it is.

    Names that begin with a dot are skipped, and so are run folders inside the folder, whose sounds are the
    output of a model. Links to folders are followed. A folder that is reached twice is listed once, so that
    cyclic links end.
    """
    if not source.is_dir():
        return _sort(source, source.parent, [source], [])
    skipped: list[Skipped] = []

    def skip(path: Path, reason: str) -> None:
        skipped.append(Skipped(printable(_name(path, source)), reason))

    return _sort(source, source, list(_walk(source, skip)), skipped)


def grouped(skipped: Sequence[Skipped]) -> list[Skipped]:
    """Return what is skipped for a list that people read, with names that are not of audio together, last."""
    told = [each for each in skipped if each.reason not in {_OTHER, _HIDDEN}]
    for reason, are in (
        (_OTHER, "are not audio, by their names"),
        (_HIDDEN, "are hidden: their names begin with a dot"),
    ):
        paths = [each.path for each in skipped if each.reason == reason]
        if len(paths) > 1:
            shown = ", ".join(paths[:_SHOWN])
            more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            told.append(Skipped(shown + more, are))
        elif paths:
            told.append(Skipped(paths[0], reason))
    return told


def _walk(folder: Path, skip: Callable[[Path, str], None]) -> Iterator[Path]:
    def cannot_be_listed(error: OSError) -> None:
        skip(Path(error.filename), f"cannot be listed: {error.strerror}")

    visited = set()
    for parent, folders, files in os.walk(folder, onerror=cannot_be_listed, followlinks=True):
        identity = os.path.realpath(parent)
        if identity in visited:
            folders.clear()
            continue
        visited.add(identity)
        wanted = []
        for name in sorted(folders):
            if name.startswith("."):
                skip(Path(parent, name), _HIDDEN)
            elif os.path.isfile(Path(parent, name, _RUN)):  # noqa: PTH113  # False if it cannot be accessed
                skip(Path(parent, name), _SOUNDS_OF_A_RUN)
            else:
                wanted.append(name)
        folders[:] = wanted
        for name in files:
            if name.startswith("."):
                skip(Path(parent, name), _HIDDEN)
            elif Path(name).suffix.lower() not in AUDIO_SUFFIXES:
                skip(Path(parent, name), _OTHER)
            else:
                yield Path(parent, name)


def _sort(source: Path, root: Path, paths: list[Path], skipped: list[Skipped]) -> Found:
    candidates = []
    for path in paths:
        name = _name(path, root)
        try:
            status = path.stat()
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be read: {error.strerror}"))
        else:
            if stat.S_ISREG(status.st_mode):
                candidates.append(Candidate(path, name, status.st_size, status.st_mtime_ns))
            else:
                skipped.append(Skipped(name, "is not a file"))
    return Found(source, tuple(sorted(candidates, key=lambda found: found.name)), tuple(skipped))


def _name(path: Path, root: Path) -> str:
    return as_text(path.relative_to(root).as_posix())
