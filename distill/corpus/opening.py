"""A corpus: the recordings of a folder, decoded, split and ready to draw clips from."""

from pathlib import Path

from attrs import frozen

from distill.corpus.cache import Progress, describe, open_cache
from distill.corpus.clips import Split
from distill.corpus.scanning import Skipped, find_audio
from distill.corpus.splitting import split_recordings
from distill.errors import CorpusError


@frozen(eq=False)
class Corpus:
    """The recordings of `folder` at `sample_rate` Hz, and what was skipped, in the order of the names."""

    folder: Path
    sample_rate: int
    train: Split
    heldout: Split
    skipped: tuple[Skipped, ...]


def open_corpus(
    folder: Path,
    *,
    sample_rate: int,
    cache: Path,
    heldout_fraction: float,
    on_progress: Progress | None = None,
) -> Corpus:
    """Open a folder of recordings, or a single one, decoding it to the folder `cache` unless it is there.

    `heldout_fraction` is the share of the recordings that is held out; a single one never is.
    `on_progress` is called with the files done and their number after each file that is decoded.
    Samples stay on disk and are mapped: the process's own memory does not grow with them. Pages that
    were drawn from count as resident until the system wants them back.

    Raises:
        CorpusError: `folder` is not there, or holds no audio file that can be used, or `cache` cannot
            be written.
    """
    if not folder.exists():
        raise CorpusError(
            "there is no such file or folder",
            culprit=str(folder),
            remedy="Give a folder of recordings, or a single recording.",
        )
    found = find_audio(folder)
    if not found.candidates:
        raise CorpusError(
            "holds no audio files" + (f":\n{describe([*found.skipped])}" if found.skipped else ""),
            culprit=str(folder),
            remedy="Give recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.",
        )
    contents = open_cache(cache, found, sample_rate=sample_rate, on_progress=on_progress)
    train, heldout = split_recordings(contents.recordings, heldout_fraction)
    return Corpus(
        folder=folder,
        sample_rate=sample_rate,
        train=Split(train, sample_rate, contents.samples),
        heldout=Split(heldout, sample_rate, contents.samples),
        skipped=tuple(sorted((*found.skipped, *contents.skipped), key=lambda skip: skip.path)),
    )
