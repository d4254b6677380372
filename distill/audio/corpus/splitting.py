"""The split of a corpus into training and held-out recordings."""

from collections.abc import Iterable

from distill.audio.corpus.cache import Recording

Recordings = tuple[Recording, ...]


def split_recordings(
    recordings: Iterable[Recording], heldout_fraction: float
) -> tuple[Recordings, Recordings]:
    """Split recordings into training and held-out ones, deterministically.

    Recordings are sorted by the digests of their samples, and the first `round(fraction * n)` of the `n`
    different ones are held out: at least one, and never all. Thus copies of a file are in the same split,
    whatever their names, formats and order, and an additional file changes little. Lossy copies are not
    recognized.
    """
    recordings = tuple(recordings)
    digests = sorted({recording.digest for recording in recordings})
    count = (
        min(max(round(heldout_fraction * len(digests)), 1), len(digests) - 1) if heldout_fraction > 0 else 0
    )
    chosen = set(digests[:count])
    return (
        tuple(recording for recording in recordings if recording.digest not in chosen),
        tuple(recording for recording in recordings if recording.digest in chosen),
    )
