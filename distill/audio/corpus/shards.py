"""Sharded corpora: tar files of recordings, in a folder or at a URL, and their manifest."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import attrs
import numpy as np
import soundfile
from attrs import frozen
from numpy.typing import NDArray

from distill.audio.corpus.cache import Recording
from distill.config import structure
from distill.errors import ConfigError, CorpusError
from distill.storage.files import write_whole

MANIFEST = "shards.json"

# WebDataset supports more schemes, among them `pipe:`, with which a recipe could run any command.
_MOST = 128  # the largest exponent of a float
_SCHEMES = ("http", "https", "gs", "hf")
_RESTORE = "Restore it from a copy, or write the shards again with `distill shard`."


@frozen
class Shard:
    """A tar file: its size in bytes, its number of pieces of recordings, and their lengths.

    `frames`, a name that shards.json keeps, is the total of samples per channel; `samples` is that of the
    samples of all channels.
    """

    name: str
    bytes: int
    pieces: int
    frames: int
    samples: int


@frozen
class Manifest:
    """The training and held-out shards of a corpus at `sample_rate` Hz."""

    sample_rate: int
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
    return _is_url(location) or Path(location, MANIFEST).is_file()


def read_manifest(location: str) -> Manifest:
    """Read the manifest of a sharded corpus. For a folder, check that all shards exist with their sizes.

    Raises:
        CorpusError: WebDataset is not installed; the URL has an unsupported scheme; the manifest cannot be
            read, is damaged, or lists no training shards; or a shard is missing or has another size.
    """
    scheme = urlsplit(location).scheme
    if _is_url(location) and scheme not in _SCHEMES:
        raise CorpusError(
            f"shards cannot be read by {scheme!r}; expected one of {', '.join(_SCHEMES)}",
            culprit=location,
            remedy="Give such a URL, or mount the storage and give the folder.",
        )
    where = f"{location}/{MANIFEST}"
    try:
        with _open(location, MANIFEST) as file:
            tree = json.loads(file.read())
        manifest = structure(tree, Manifest)
    except OSError as error:
        raise _unreadable(where, "the list of shards", error) from error
    except (ValueError, ConfigError) as error:
        problem = "the list of shards is damaged, or of another version of Distill"
        raise CorpusError(problem, culprit=where, remedy=_RESTORE) from error
    if not manifest.train:
        raise CorpusError("lists no shards to train on", culprit=where, remedy=_RESTORE)
    if not _is_url(location):
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
        for piece in _pieces(location, shard):
            with soundfile.SoundFile(io.BytesIO(piece["flac"])) as sound:
                start, end = end, end + sound.frames * sound.channels
                sound.read(out=samples[start:end].reshape(-1, sound.channels))
                if "exponent" in piece:  # of a level that FLAC cannot represent
                    exponent = min(max(int(piece["exponent"]), -_MOST), _MOST)
                    np.ldexp(samples[start:end], exponent, out=samples[start:end])
                name = piece["name"].decode()
                recordings.append(Recording(name, sound.channels, sound.frames, offset=start, digest=""))
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


def webdataset() -> ModuleType:
    """Import and return WebDataset, an optional dependency.

    Raises:
        CorpusError: WebDataset is not installed.
    """
    try:
        import webdataset as installed  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise CorpusError(
            "a sharded corpus needs WebDataset, which is not installed",
            culprit="webdataset",
            remedy='Install it: pip install "distill[shards]"',
        ) from error
    return installed


def _is_url(location: str) -> bool:
    return "://" in location


def _pieces(location: str, shard: Shard) -> Iterator[dict[str, Any]]:
    tar = webdataset().tariterators
    with _open(location, shard.name) as stream:
        source = {"url": f"{location}/{shard.name}", "stream": stream}
        yield from tar.group_by_keys(tar.tar_file_expander([source]))


def _open(location: str, name: str) -> Any:  # noqa: ANN401  # a file, or a pipe that is read like one
    opened = webdataset().gopen
    return opened(f"{location}/{name}") if _is_url(location) else Path(location, name).open("rb")


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
    # A failed download has no error text, and its command line is not helpful.
    cause = error.strerror or "it cannot be fetched"
    return CorpusError(f"{what} cannot be read: {cause}", culprit=where, remedy=_RESTORE)
