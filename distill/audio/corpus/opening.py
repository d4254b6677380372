"""Opening of a corpus: recordings of a folder or of shards, decoded and split, to draw clips from."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from attrs import frozen

from distill.arguments import require_corpus
from distill.audio.corpus.cache import Progress, Recording, describe, open_cache
from distill.audio.corpus.clips import Split
from distill.audio.corpus.levels import Remark, remark_on
from distill.audio.corpus.scanning import Found, Skipped, find_audio
from distill.audio.corpus.shards import Manifest, read_manifest, read_shard
from distill.audio.corpus.splitting import split_recordings
from distill.audio.corpus.stream import Stream
from distill.errors import CorpusError
from distill.storage.memory import in_words, machine_memory


@frozen(eq=False)
class Corpus:
    """The recordings of `folder` at `sample_rate` Hz and the skipped files, sorted by name.

    `remarks` are on recordings that are used, and contribute little or exceed full scale.

    A sharded corpus, which may be at a URL, is streamed.
    """

    folder: Path | str
    sample_rate: int
    train: Split | Stream
    heldout: Split
    skipped: tuple[Skipped, ...]
    remarks: tuple[Remark, ...] = ()


def open_corpus(
    folder: Path,
    *,
    sample_rate: int,
    cache: Path,
    heldout_fraction: float,
    full_scale: float = 1.0,
    on_progress: Progress | None = None,
) -> Corpus:
    """Open a folder of recordings, or a single file, and decode it to the folder `cache` if necessary.

    Samples stay on disk and are read when they are drawn, so that memory does not grow with the corpus.

    Args:
        folder: the folder or file.
        sample_rate: the sample rate of the corpus in Hz.
        cache: the folder of the cache.
        heldout_fraction: the fraction of recordings to hold out. A single recording is never held out.
        full_scale: the value of full scale in files of floats.
        on_progress: called after each decoded file with the number of files done and their total.

    Raises:
        CorpusError: `folder` does not exist or holds no usable audio file, or `cache` cannot be written.
    """
    found = require_audio(folder)
    contents = open_cache(
        cache,
        found,
        sample_rate=sample_rate,
        full_scale=full_scale,
        on_progress=on_progress,
    )
    train, heldout = split_recordings(contents.recordings, heldout_fraction)
    return Corpus(
        folder=folder,
        sample_rate=sample_rate,
        train=Split(train, sample_rate, contents.samples),
        heldout=Split(heldout, sample_rate, contents.samples),
        skipped=tuple(sorted((*found.skipped, *contents.skipped), key=lambda skip: skip.path)),
        remarks=remarks_on(contents.recordings, sample_rate),
    )


def open_shards(
    location: str, *, sample_rate: int, pool_shards: int, seed: int = 0, process: int = 0, processes: int = 1
) -> Corpus:
    """Open a sharded corpus, a folder or URL, in one of several processes that share its shards.

    `pool_shards` shards are held in memory at a time, and the first of the held-out shards.

    Raises:
        CorpusError: WebDataset is not installed, the shards have another sample rate, or one of them is
            missing, truncated or damaged.
    """
    manifest = read_manifest(location)
    if manifest.sample_rate != sample_rate:
        raise CorpusError(
            f"its shards are at {manifest.sample_rate} Hz, and representation.sample_rate is {sample_rate}",
            culprit=location,
            remedy=f"Set representation.sample_rate={manifest.sample_rate}, or write shards at that rate.",
        )
    nothing = Split((), sample_rate, np.zeros(0, np.float32))
    return Corpus(
        folder=location,
        sample_rate=sample_rate,
        train=Stream(
            location, manifest, pool_shards=pool_shards, seed=seed, process=process, processes=processes
        ),
        heldout=next(iter(HeldoutShards(location, manifest)), nothing),
        skipped=(),
    )


def remarks_on(recordings: Iterable[Recording], sample_rate: int) -> tuple[Remark, ...]:
    """Return the remarks on recordings that contribute little or exceed full scale."""
    remarks = (
        remark_on(each.name, each.lowest, each.highest, each.samples / sample_rate, each.note)
        for each in recordings
    )
    return tuple(remark for remark in remarks if remark is not None)


@frozen
class HeldoutShards:
    """The held-out shards at `location`. Iteration reads each shard when needed, as a split."""

    location: str
    manifest: Manifest

    def __iter__(self) -> Iterator[Split]:
        """Yield a split for each shard.

        Raises:
            CorpusError: a shard cannot be read, or is truncated or damaged.
        """
        for shard in self.manifest.heldout:
            needed = shard.samples * np.dtype(np.float32).itemsize
            if needed > machine_memory():
                raise CorpusError(
                    f"{shard.name} needs {in_words(needed)} of memory, and there are "
                    f"{in_words(machine_memory())}",
                    culprit=self.location,
                    remedy="Write smaller shards: distill shard --minutes",
                )
            samples = np.zeros(shard.samples, np.float32)
            recordings = read_shard(self.location, shard, samples)
            yield Split(tuple(recordings), self.manifest.sample_rate, samples)


def open_heldout(location: str, *, sample_rate: int) -> HeldoutShards:
    """Open the held-out shards of a sharded corpus, a folder or URL, for the evaluation of a model.

    Raises:
        CorpusError: WebDataset is not installed, the shards have another sample rate, no shard is held out,
            or the manifest or a shard is missing or damaged.
    """
    manifest = read_manifest(location)
    if manifest.sample_rate != sample_rate:
        raise CorpusError(
            f"its shards are at {manifest.sample_rate} Hz, and the model is at {sample_rate} Hz",
            culprit=location,
            remedy=f"Use the recordings themselves, or write shards with --rate {sample_rate}.",
        )
    if not manifest.heldout:
        raise CorpusError(
            "none of its recordings is held out",
            culprit=location,
            remedy="Use other recordings, or write the shards again with --heldout 0.1.",
        )
    return HeldoutShards(location, manifest)


def require_audio(folder: Path) -> Found:
    """Return the audio files of a folder, or a single file.

    Raises:
        CorpusError: `folder` does not exist, cannot be read, or holds no audio files.
    """
    require_corpus(folder)
    found = find_audio(folder)
    if not found.candidates:
        raise CorpusError(
            "holds no audio files" + (f":\n{describe([*found.skipped])}" if found.skipped else ""),
            culprit=str(folder),
            remedy="Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.",
        )
    return found
