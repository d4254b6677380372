"""The cache of decoded samples: a flat float32 file, and a manifest of its contents.

Samples are stored as they are decoded, with interleaved channels, so that a recording of any length can be
written as a stream. The manifest is written last and names the audio file, which has a unique name. Files
left behind by interrupted or concurrent builds are in no manifest and are ignored.
"""

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import attrs
import numpy as np
import soundfile
from attrs import frozen

from distill.audio.corpus.decoding import UnusableError, decode
from distill.audio.corpus.places import REMEDY
from distill.audio.corpus.samples import FileSamples
from distill.audio.corpus.scanning import Candidate, Found, Skipped, grouped
from distill.audio.corpus.sharing import Decoding, decoding_alone
from distill.audio.corpus.writing import require_no_link, writing_to
from distill.errors import CorpusError, printable
from distill.storage.files import write_whole

Progress = Callable[[int, int], None]

_FORMAT = 3
_MANIFEST = "manifest.json"
_AUDIO = re.compile(r"audio-[0-9a-f]{32}\.f32")
_SHOWN = 10


@frozen
class Recording:
    """A decoded recording.

    Attributes:
        name: its path relative to the corpus.
        channels: its number of channels.
        samples: its length in samples per channel, at the sample rate of the corpus.
        offset: its position in the cache, in samples.
        digest: a digest of the samples in its file, equal for files with equal samples.
        lowest, highest: the range of these samples, 1 being full scale.
        note: a note on its file, or empty.
    """

    name: str
    channels: int
    samples: int
    offset: int
    digest: str
    lowest: float = -1.0
    highest: float = 1.0
    note: str = ""


@frozen(eq=False)
class Contents:
    """The contents of a cache: recordings, skipped files, and all samples."""

    recordings: tuple[Recording, ...]
    skipped: tuple[Skipped, ...]
    samples: FileSamples


def open_cache(
    folder: Path,
    found: Found,
    *,
    sample_rate: int,
    full_scale: float = 1.0,
    on_progress: Progress | None = None,
) -> Contents:
    """Open the cache in `folder`. If it is out of date, decode the files of `found` first.

    The cache is up to date if the source, the sample rate, the value of full scale, libsndfile's version and
    the name, size and modification time of every file are unchanged. Unusable files are recorded, too. Of
    several processes that want the same cache at the same time, one decodes, and the others wait for it.

    Raises:
        CorpusError: none of the files can be used, or the cache cannot be written. Partial files are removed.
    """
    key = {
        "format": _FORMAT,
        "source": str(found.source.resolve()),
        "sample_rate": sample_rate,
        "full_scale": full_scale,
        "libsndfile": soundfile.__libsndfile_version__,
        "files": [[file.name, file.size, file.mtime_ns] for file in found.candidates],
    }
    contents = _load(folder, key)
    if contents is not None:
        return contents
    require_no_link(folder)
    audio = folder / f"audio-{uuid4().hex}.f32"
    with (
        writing_to(folder, "the decoded audio", remedy=REMEDY),
        decoding_alone(folder, on_progress) as decoding,
    ):
        contents = _load(folder, key)  # that another process has decoded meanwhile
        if contents is not None:
            return contents
        try:
            return _build(audio, key, found, decoding)
        except BaseException:
            with suppress(OSError):
                audio.unlink()
            raise


def _load(folder: Path, key: dict[str, Any]) -> Contents | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if not isinstance(manifest, dict) or manifest.get("key") != key:
            return None
        if not _AUDIO.fullmatch(manifest["audio"]):
            return None
        with (folder / manifest["audio"]).open("rb") as file:
            if os.fstat(file.fileno()).st_size != manifest["bytes"]:
                return None
            contents = _contents(manifest, file)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # of another version, or damaged
        return None
    names = {name for name, *_ in key["files"]}
    fits = bool(contents.recordings) and all(
        each.name in names and _lies_in(each, len(contents.samples)) for each in contents.recordings
    )
    return contents if fits else None


def _lies_in(recording: Recording, total: int) -> bool:
    """Return whether the fields of a recording have their types, and its samples are among `total`."""
    counts = (recording.channels, recording.samples, recording.offset)
    return (
        all(type(count) is int for count in counts)
        and all(type(level) is float for level in (recording.lowest, recording.highest))
        and type(recording.digest) is str
        and type(recording.note) is str
        and min(recording.channels, recording.samples) > 0
        and 0 <= recording.offset <= total - recording.samples * recording.channels
    )


def _build(audio: Path, key: dict[str, Any], found: Found, decoding: Decoding) -> Contents:
    recordings: list[Recording] = []
    skipped: list[Skipped] = []
    with audio.open("x+b") as file:
        for done, candidate in enumerate(found.candidates, start=1):
            try:
                recordings.append(_append(candidate, file, key))
            except UnusableError as error:
                skipped.append(Skipped(candidate.name, str(error)))
            decoding.show(done, len(found.candidates))
        if not recordings:
            raise CorpusError(
                f"no audio file here can be used:\n{describe([*found.skipped, *skipped])}",
                culprit=str(found.source),
                remedy="Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.",
            )
        file.flush()
        os.fsync(file.fileno())
        manifest = {
            "key": key,
            "audio": audio.name,
            "bytes": os.fstat(file.fileno()).st_size,
            "recordings": [attrs.asdict(recording) for recording in recordings],
            "skipped": [attrs.asdict(skip) for skip in skipped],
        }
        contents = _contents(manifest, file)
    write_whole(audio.parent / _MANIFEST, json.dumps(manifest).encode())
    # Another process that decodes may be about to name its own file in the manifest.
    for old in set(audio.parent.glob("audio-*.f32")) - {audio} if decoding.alone else ():
        with suppress(OSError):
            old.unlink()
    return contents


def _append(candidate: Candidate, file: IO[bytes], key: dict[str, Any]) -> Recording:
    """Append the samples of a recording to a file of float32 samples.

    Raises:
        UnusableError: the recording cannot be used. The file is as before.
    """
    start = file.tell()
    try:
        decoded = decode(
            candidate.path,
            key["sample_rate"],
            lambda block: file.write(np.ascontiguousarray(block, "<f4").data),
            full_scale=key["full_scale"],
        )
    except UnusableError:
        file.seek(start)
        file.truncate()
        raise
    return Recording(
        candidate.name,
        decoded.channels,
        decoded.samples,
        offset=start // 4,
        digest=decoded.digest,
        lowest=decoded.lowest,
        highest=decoded.highest,
        note=decoded.note,
    )


def _contents(manifest: dict[str, Any], file: IO[bytes]) -> Contents:
    return Contents(
        recordings=tuple(Recording(**recording) for recording in manifest["recordings"]),
        skipped=tuple(Skipped(**skip) for skip in manifest["skipped"]),
        samples=FileSamples(file.fileno(), file.name),
    )


def describe(skipped: list[Skipped]) -> str:
    """Return a list of the first skipped files, one per line, and the number of the remaining ones."""
    told = grouped(skipped)
    lines = [f"  {printable(skip.path)}: {skip.reason}" for skip in told[:_SHOWN]]
    return "\n".join([*lines, *([f"  and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else [])])
