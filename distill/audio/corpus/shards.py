"""Sharded corpora: tar files of recordings, in a folder or at a URL, and their manifest."""

import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import numpy as np
import soundfile
from attrs import field, frozen
from numpy.typing import NDArray

from distill.arguments import is_url
from distill.audio.corpus.cache import Recording
from distill.audio.corpus.fetching import SCHEMES, opened, webdataset
from distill.audio.corpus.tars import groups
from distill.config import structure
from distill.config.bounds import within
from distill.config.settings import HIGHEST_RATE
from distill.errors import ConfigError, CorpusError
from distill.storage.files import write_whole

MANIFEST = "shards.json"

_MOST = 128  # the largest exponent of a float
_LONGEST_MANIFEST = 2**26
"""The largest size of a manifest in bytes: half a million shards."""

_LONGEST_NAME = 4096
_RESTORE = "Restore it from a copy, or write the shards again with `distill shard`."


_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,250}\.tar", re.ASCII)


def _is_name(_: object, attribute: "attrs.Attribute[str]", name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{attribute.name}' must be that of a tar file beside the list, no path: {name!r}")


@frozen
class Shard:
    """A tar file: its size in bytes, its number of pieces of recordings, and their lengths.

    `frames`, a name that shards.json keeps, is the total of samples per channel; `samples` is that of the
    samples of all channels.
    """

    name: str = field(validator=_is_name)
    bytes: int = field(validator=within(1, 2**42))
    pieces: int = field(validator=within(1, 2**32))
    frames: int = field(validator=within(1, 2**42))
    samples: int = field(validator=within(1, 2**42))


@frozen
class Manifest:
    """The training and held-out shards of a corpus at `sample_rate` Hz."""

    sample_rate: int = field(validator=within(1000, HIGHEST_RATE))
    train: tuple[Shard, ...]
    heldout: tuple[Shard, ...]

    def write(self, folder: Path) -> None:
        """Write the manifest to a folder, after all of its shards.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(folder / MANIFEST, json.dumps(attrs.asdict(self)).encode())


def is_sharded(location: str) -> bool:
    """Return whether a corpus is sharded: a URL, or a folder with a manifest."""
    # Of `os.path`, which takes what may not be looked at for no file.
    return is_url(location) or os.path.isfile(Path(location, MANIFEST))  # noqa: PTH113  # as above


def read_manifest(location: str) -> Manifest:
    """Read the manifest of a sharded corpus. For a folder, check that all shards exist with their sizes.

    Raises:
        CorpusError: WebDataset is not installed; the URL has an unsupported scheme; the manifest cannot be
            read, is damaged, or lists no training shards; or a shard is missing or has another size.
    """
    scheme = urlsplit(location).scheme
    if is_url(location) and scheme not in SCHEMES:
        raise CorpusError(
            f"shards cannot be read by {scheme!r}; expected one of {', '.join(SCHEMES)}",
            culprit=location,
            remedy="Pass such a URL, or mount the storage and pass the folder.",
        )
    where = f"{location}/{MANIFEST}"
    try:
        webdataset()
        with opened(location, MANIFEST, most=_LONGEST_MANIFEST) as file:
            tree = json.loads(file.read(_LONGEST_MANIFEST + 1))
        manifest = structure(tree, Manifest)
    except OSError as error:
        raise _unreadable(where, "the list of shards", error) from error
    except (ValueError, RecursionError, ConfigError) as error:
        problem = "the list of shards is damaged, or of another version of Distill"
        raise CorpusError(problem, culprit=where, remedy=_RESTORE) from error
    if not manifest.train:
        raise CorpusError("lists no shards to train on", culprit=where, remedy=_RESTORE)
    if not is_url(location):
        _require_whole(location, (*manifest.train, *manifest.heldout))
    return manifest


def read_shard(location: str, shard: Shard, samples: NDArray[np.float32]) -> list[Recording]:
    """Decode a shard to the beginning of `samples`; return its recordings, with offsets into `samples`.

    Raises:
        CorpusError: the shard cannot be read, or is truncated or damaged.
    """
    where = f"{location}/{shard.name}"
    recordings: list[Recording] = []
    end = 0
    try:
        with opened(location, shard.name, most=shard.bytes, patient=True) as file:
            for piece in groups(file, shard.bytes):
                end = _read_piece(piece, samples, end, recordings)
    except OSError as error:
        raise _unreadable(where, "the shard", error) from error
    # A damaged shard makes tarfile or libsndfile fail, lacks a part, or does not fit into `samples`.
    except (tarfile.TarError, soundfile.SoundFileError, KeyError, ValueError) as error:
        raise CorpusError("the shard is damaged", culprit=where, remedy=_RESTORE) from error
    if (len(recordings), end) != (shard.pieces, shard.samples):
        problem = (
            f"the shard is damaged: it has {len(recordings)} pieces of {end} samples in all, "
            f"and had {shard.pieces} of {shard.samples} when it was written"
        )
        raise CorpusError(problem, culprit=where, remedy=_RESTORE)
    return recordings


def _read_piece(
    piece: Mapping[str, bytes], samples: NDArray[np.float32], start: int, recordings: list[Recording]
) -> int:
    """Decode a piece to `samples` from `start` on, add it to `recordings`, and return where it ends.

    Raises:
        KeyError: a part of the piece is missing.
        ValueError: a part is damaged, or the piece does not fit into `samples`.
        soundfile.SoundFileError: it is not audio.
    """
    name = piece["name"].decode()
    if not 0 < len(name) <= _LONGEST_NAME or "\0" in name:
        msg = "a recording has a name that no file has"
        raise ValueError(msg)
    with soundfile.SoundFile(io.BytesIO(piece["flac"])) as sound:
        if sound.format != "FLAC":
            msg = f"{name} is no FLAC"
            raise ValueError(msg)
        end = start + sound.frames * sound.channels
        sound.read(out=samples[start:end].reshape(-1, sound.channels))
        if "exponent" in piece:  # of a level that FLAC cannot represent
            exponent = min(max(int(piece["exponent"]), -_MOST), _MOST)
            np.ldexp(samples[start:end], exponent, out=samples[start:end])
        recordings.append(Recording(name, sound.channels, sound.frames, offset=start, digest=""))
    return end


def _require_whole(folder: str, shards: tuple[Shard, ...]) -> None:
    for shard in shards:
        path = Path(folder, shard.name)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise _unreadable(str(path), "the shard", error) from error
        if size != shard.bytes:
            problem = f"the shard is damaged: it has {size} bytes, and had {shard.bytes} when it was written"
            raise CorpusError(problem, culprit=str(path), remedy=_RESTORE)


def _unreadable(where: str, what: str, error: OSError) -> CorpusError:
    # A failed download of `gsutil` has no error text, and its command line is not helpful.
    cause = error.strerror or "it cannot be fetched"
    remedy = (
        "Check the URL and the connection. A training run goes on with --resume."
        if is_url(where)
        else _RESTORE
    )
    return CorpusError(f"{what} cannot be read: {cause}", culprit=where, remedy=remedy)
