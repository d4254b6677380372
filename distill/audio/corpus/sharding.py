"""Write the recordings of a folder to shards: decoded once, cut into pieces, as FLAC in tar files."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from attrs import Factory, define

from distill.audio.corpus.cache import Progress, describe
from distill.audio.corpus.claiming import claim
from distill.audio.corpus.decoding import UnusableError
from distill.audio.corpus.encoding import Encoded, Piece, encode
from distill.audio.corpus.opening import require_audio
from distill.audio.corpus.scanning import Candidate, Skipped
from distill.audio.corpus.shards import Manifest, Shard, webdataset
from distill.audio.corpus.writing import writing_to
from distill.errors import CorpusError

_DIGESTS = 16**32


def write_shards(
    source: Path,
    out: Path,
    *,
    sample_rate: int,
    heldout_fraction: float,
    minutes: float,
    on_progress: Progress | None = None,
) -> tuple[Manifest, tuple[Skipped, ...]]:
    """Write the recordings below `source` to the folder `out`, at `sample_rate` Hz; say what was skipped.

    A recording is held out when the digest of its samples, read as a fraction of 1, is below
    `heldout_fraction`: so a copy falls on the side of its original, and each file is decoded once. One
    longer than a minute is cut into pieces of half a minute to a minute. A shard is full at `minutes`
    of sound, every channel counted, and is held in memory until then. The order of the recordings is
    shuffled, always in the same way. What exceeds full scale, which FLAC cannot, is turned down to it.

    The manifest is written last. Where that is not reached no shard stays in `out`; those that a killed
    process left are removed by the next that writes to it.

    Raises:
        CorpusError: WebDataset is not installed, `source` holds no audio that can be used or to train
            on, or `out` is not empty, is written to by another process or cannot be.
    """
    webdataset()  # or nothing is decoded
    found = require_audio(source)
    skipped = [*found.skipped]
    limit = round(minutes * 60 * sample_rate)
    train, heldout = _Shards(out, "train", limit), _Shards(out, "heldout", limit)
    with writing_to(out, "the shards", purpose="shards"), claim(out):
        encodings = _encode_all(found.candidates, sample_rate)
        for done, (candidate, encoded) in enumerate(encodings, start=1):
            if isinstance(encoded, UnusableError):
                skipped.append(Skipped(candidate.name, str(encoded)))
            elif int(encoded.digest, 16) < heldout_fraction * _DIGESTS:
                heldout.add(encoded.pieces)
            else:
                train.add(encoded.pieces)
            if on_progress is not None:
                on_progress(done, len(found.candidates))
        manifest = Manifest(sample_rate, train.finish(), heldout.finish())
        if not manifest.train:
            raise _nothing_to_train_on(source, skipped, manifest.heldout)
        manifest.write(out)
    return manifest, tuple(sorted(skipped, key=lambda skip: skip.path))


@define
class _Shards:
    """The tar files of a split: pieces are gathered until they fill one, which is flushed to the disk."""

    folder: Path
    split: str
    limit: int
    written: list[Shard] = Factory(list)
    gathered: list[Piece] = Factory(list)
    samples: int = 0

    def add(self, pieces: tuple[Piece, ...]) -> None:
        for piece in pieces:
            self.gathered.append(piece)
            self.samples += piece.frames * piece.channels
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
                    tar.write({"__key__": key, "flac": piece.flac, "name": piece.name.encode()})
            file.flush()
            os.fsync(file.fileno())
        frames = sum(piece.frames for piece in self.gathered)
        size = path.stat().st_size
        self.written.append(Shard(path.name, size, len(self.gathered), frames, self.samples))
        self.gathered, self.samples = [], 0


def _encode_all(
    candidates: tuple[Candidate, ...], sample_rate: int
) -> Iterator[tuple[Candidate, Encoded | UnusableError]]:
    """Encode the files in a shuffled order, on all cores, and no more of them at once than these hold."""

    def attempt(candidate: Candidate) -> tuple[Candidate, Encoded | UnusableError]:
        try:
            return candidate, encode(candidate, sample_rate)
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
        remedy="Give recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.",
    )
