"""Write the recordings of a folder to shards: decoded once, cut into pieces, as FLAC in tar files.

Legend: `N` frames, `C` channels.
"""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import soundfile
from attrs import frozen

from distill.corpus.cache import Progress, describe
from distill.corpus.decoding import Block, UnusableError, decode
from distill.corpus.opening import require_audio
from distill.corpus.scanning import Candidate, Skipped
from distill.corpus.shards import Manifest, Shard, webdataset
from distill.errors import CorpusError

_PIECE_SECONDS = 30
_MOST_CHANNELS = 8  # of a FLAC file
_DIGESTS = 16**32


@frozen
class _Piece:
    frames: int
    channels: int
    flac: bytes


@frozen
class _Encoded:
    candidate: Candidate
    digest: str = ""
    pieces: tuple[_Piece, ...] = ()
    reason: str = ""


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
    of sound, every channel counted. The order of the recordings is shuffled, always in the same way. What
    exceeds full scale, which FLAC cannot, is turned down to it. The manifest is written last.

    Raises:
        CorpusError: WebDataset is not installed, `source` holds no audio that can be used or to train
            on, or `out` is not empty or cannot be written.
    """
    tar_writer = webdataset().TarWriter
    found = require_audio(source)
    limit = round(minutes * 60 * sample_rate)
    skipped = [*found.skipped]
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise CorpusError("is not empty", culprit=str(out), remedy="Give a new folder for the shards.")
        with (
            _Shards(out, "train", limit, tar_writer) as train,
            _Shards(out, "heldout", limit, tar_writer) as held,
        ):
            for done, encoded in enumerate(_encode_all(found.candidates, sample_rate), start=1):
                if encoded.reason:
                    skipped.append(Skipped(encoded.candidate.name, encoded.reason))
                elif int(encoded.digest, 16) < heldout_fraction * _DIGESTS:
                    held.add(encoded)
                else:
                    train.add(encoded)
                if on_progress is not None:
                    on_progress(done, len(found.candidates))
        manifest = Manifest(sample_rate, tuple(train.written), tuple(held.written))
        if not manifest.train:
            raise _nothing_to_train_on(source, skipped, held.written)
        manifest.write(out)
    except OSError as error:
        raise CorpusError(
            f"the shards cannot be written: {error.strerror}",
            culprit=str(out),
            remedy="Make room there, or choose another folder for the shards.",
        ) from error
    return manifest, tuple(sorted(skipped, key=lambda skip: skip.path))


class _Shards:
    """The tar files of one split, one written after the other, each flushed to the disk."""

    def __init__(self, folder: Path, split: str, limit: int, tar_writer: Any) -> None:  # noqa: ANN401  # WebDataset's
        self.folder, self.split, self.limit, self.tar_writer = folder, split, limit, tar_writer
        self.written: list[Shard] = []
        self._open: tuple[Path, IO[bytes], Any] | None = None
        self._pieces: list[_Piece] = []
        self._recordings = 0

    def add(self, encoded: _Encoded) -> None:
        """Write the pieces of a recording."""
        self._recordings += 1
        for number, piece in enumerate(encoded.pieces):
            if self._open is None:
                path = self.folder / f"{self.split}-{len(self.written):06d}.tar"
                file = path.open("xb")
                self._open = path, file, self.tar_writer(file, encoder=False, mtime=0)
            name = encoded.candidate.name
            if len(encoded.pieces) > 1:
                name += f"@{number * _PIECE_SECONDS}s"
            key = f"{self._recordings:09d}-{number:06d}"
            self._open[2].write({"__key__": key, "flac": piece.flac, "name": name.encode()})
            self._pieces.append(piece)
            if sum(each.frames * each.channels for each in self._pieces) >= self.limit:
                self._finish()

    def _finish(self) -> None:
        if self._open is None:
            return
        path, file, tar = self._open
        tar.close()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        frames = sum(piece.frames for piece in self._pieces)
        samples = sum(piece.frames * piece.channels for piece in self._pieces)
        size = path.stat().st_size
        self.written.append(Shard(path.name, size, len(self._pieces), frames, samples))
        self._open, self._pieces = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        elif self._open is not None:
            self._open[1].close()


def _encode_all(candidates: tuple[Candidate, ...], sample_rate: int) -> Iterator[_Encoded]:
    """Encode the files in a shuffled order, on all cores, and no more of them at once than these hold."""
    order = np.random.default_rng(0).permutation(len(candidates)).tolist()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as threads:
        for start in range(0, len(order), cores):
            some = [candidates[index] for index in order[start : start + cores]]
            yield from threads.map(lambda candidate: _encode(candidate, sample_rate), some)


def _encode(candidate: Candidate, sample_rate: int) -> _Encoded:
    pieces: list[_Piece] = []
    rest: list[Block] = []
    least = _PIECE_SECONDS * sample_rate

    def take(block: Block) -> None:
        if block.shape[1] > _MOST_CHANNELS:
            raise UnusableError(
                f"has {block.shape[1]} channels, and a FLAC file has at most {_MOST_CHANNELS}"
            )
        rest.append(block)
        if sum(map(len, rest)) >= 2 * least:
            whole = np.concatenate(rest)
            while len(whole) >= 2 * least:
                pieces.append(_encode_piece(whole[:least], sample_rate))
                whole = whole[least:]
            rest[:] = [whole]

    try:
        decoded = decode(candidate.path, sample_rate, take)
    except UnusableError as error:
        return _Encoded(candidate, reason=str(error))
    pieces.append(_encode_piece(np.concatenate(rest), sample_rate))
    return _Encoded(candidate, decoded.digest, tuple(pieces))


def _encode_piece(samples: Block, sample_rate: int) -> _Piece:
    """Encode samples `[N, C]` as FLAC of 24 bits."""
    file = io.BytesIO()
    soundfile.write(
        file, samples / max(1.0, np.abs(samples).max()), sample_rate, format="FLAC", subtype="PCM_24"
    )
    frames, channels = samples.shape
    return _Piece(frames, channels, file.getvalue())


def _nothing_to_train_on(source: Path, skipped: list[Skipped], heldout: list[Shard]) -> CorpusError:
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
