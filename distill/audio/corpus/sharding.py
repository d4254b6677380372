"""Writing of a folder's recordings to shards: tar files of FLAC pieces."""

import os
import re
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from attrs import Factory, define

from distill.audio.corpus.cache import Progress, describe
from distill.audio.corpus.claiming import claim
from distill.audio.corpus.decoding import UnusableError
from distill.audio.corpus.encoding import Encoded, Piece, encode
from distill.audio.corpus.fetching import webdataset
from distill.audio.corpus.levels import Remark
from distill.audio.corpus.opening import require_audio
from distill.audio.corpus.scanning import Candidate, Skipped
from distill.audio.corpus.shards import Manifest, Shard
from distill.audio.corpus.writing import writing_to
from distill.errors import CorpusError

_REMEDY = "Make room there, or choose another folder for the shards."
_DIGESTS = 16**32
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The beginning of a URL as a path, which has no second slash. A drive of Windows has one letter."""


def write_shards(
    source: Path,
    out: Path,
    *,
    sample_rate: int,
    heldout_fraction: float,
    minutes: float,
    full_scale: float = 1.0,
    on_progress: Progress | None = None,
    on_remark: Callable[[Remark], None] = lambda _: None,
) -> tuple[Manifest, tuple[Skipped, ...]]:
    """Write the recordings in `source` as shards to the folder `out`.

    A recording is held out if the digest of its samples, as a fraction of the largest digest, is below
    `heldout_fraction`. Thus copies are in the same split, and each file is decoded only once. A recording
    longer than a minute is cut into pieces of 30 to 60 seconds. A shard holds `minutes` of audio, summed over
    channels, and is kept in memory until it is full. The order of recordings is shuffled deterministically.
    Levels that FLAC cannot represent are stored as FLAC of another level and a power of two. `on_remark` is
    called with each remark on a recording that is used.

    The manifest is written last. After an error, no shards remain in `out`. Shards left behind by a killed
    process are removed when another process writes to the folder.

    Returns:
        The manifest and the skipped files.

    Raises:
        CorpusError: WebDataset is not installed; `source` holds no usable audio, or none to train on; or
            `out` is a URL, is not empty, is in use by another process, or cannot be written.
    """
    webdataset()  # fails before anything is decoded
    if _URL.match(str(out)):
        raise CorpusError(
            "is a URL, and shards are written to a folder",
            culprit=str(out),
            remedy="Pass a folder, copy it to the server, and train on its URL.",
        )
    found = require_audio(source)
    skipped = [*found.skipped]
    limit = round(minutes * 60 * sample_rate)
    train, heldout = _Shards(out, "train", limit), _Shards(out, "heldout", limit)
    encodings = _encode_all(found.candidates, sample_rate, full_scale)
    # Closed here after an error. Collected as garbage, it would wait for its threads in whichever thread runs
    # then, and for ever in one that is just starting.
    with writing_to(out, "the shards", remedy=_REMEDY), claim(out), closing(encodings):
        for done, (candidate, encoded) in enumerate(encodings, start=1):
            if isinstance(encoded, UnusableError):
                skipped.append(Skipped(candidate.name, str(encoded)))
            else:
                is_heldout = int(encoded.digest, 16) < heldout_fraction * _DIGESTS
                (heldout if is_heldout else train).add(encoded.pieces)
                if encoded.remark is not None:
                    on_remark(encoded.remark)
            if on_progress is not None:
                on_progress(done, len(found.candidates))
        manifest = Manifest(sample_rate, train.finish(), heldout.finish())
        if not manifest.train:
            raise _nothing_to_train_on(source, skipped, manifest.heldout)
        manifest.write(out)
    return manifest, tuple(sorted(skipped, key=lambda skip: skip.path))


@define
class _Shards:
    """A writer of a split's tar files. Pieces are collected until they fill a file."""

    folder: Path
    split: str
    limit: int
    written: list[Shard] = Factory(list)
    gathered: list[Piece] = Factory(list)
    samples: int = 0

    def add(self, pieces: tuple[Piece, ...]) -> None:
        for piece in pieces:
            self.gathered.append(piece)
            self.samples += piece.samples * piece.channels
            if self.samples >= self.limit:
                self._write()

    def finish(self) -> tuple[Shard, ...]:
        if self.gathered:
            self._write()
        return tuple(self.written)

    def _write(self) -> None:
        stem = f"{self.split}-{len(self.written):06d}"
        path = self.folder / f"{stem}.tar"
        with path.open("xb") as file:
            with webdataset().TarWriter(file, encoder=False, mtime=0) as tar:
                for number, piece in enumerate(self.gathered):
                    key = f"{stem}-{number:06d}"
                    members = {"__key__": key, "flac": piece.flac, "name": piece.name.encode()}
                    if piece.exponent:
                        members["exponent"] = str(piece.exponent).encode()
                    tar.write(members)
            file.flush()
            os.fsync(file.fileno())
        frames = sum(piece.samples for piece in self.gathered)
        size = path.stat().st_size
        self.written.append(Shard(path.name, size, len(self.gathered), frames, self.samples))
        self.gathered, self.samples = [], 0


def _encode_all(
    candidates: tuple[Candidate, ...], sample_rate: int, full_scale: float
) -> Generator[tuple[Candidate, Encoded | UnusableError], None, None]:
    """Encode the files in shuffled order on all cores, one file per core at a time."""

    def attempt(candidate: Candidate) -> tuple[Candidate, Encoded | UnusableError]:
        try:
            return candidate, encode(candidate, sample_rate, full_scale=full_scale)
        except UnusableError as error:
            return candidate, error

    order = np.random.default_rng(0).permutation(len(candidates)).tolist()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as threads:
        for start in range(0, len(order), cores):
            yield from threads.map(attempt, [candidates[index] for index in order[start : start + cores]])


def _nothing_to_train_on(source: Path, skipped: list[Skipped], heldout: tuple[Shard, ...]) -> CorpusError:
    if heldout:
        return CorpusError(
            "all of its recordings are held out",
            culprit=str(source),
            remedy="Hold out a smaller share of them, or none: --heldout 0",
        )
    return CorpusError(
        f"no audio file here can be used:\n{describe(skipped)}",
        culprit=str(source),
        remedy="Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.",
    )
