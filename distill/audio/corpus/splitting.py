"""The split into training and held-out recordings: by file, before anything else."""

from collections.abc import Iterable

from distill.audio.corpus.cache import Recording

Recordings = tuple[Recording, ...]


def split_recordings(
    recordings: Iterable[Recording], heldout_fraction: float
) -> tuple[Recordings, Recordings]:
    """Split into training and held-out recordings, always the same way.

    Recordings are ranked by a digest of their samples, and the first `round(fraction * n)` of the `n`
    different ones are held out: at least one, and never all. So copies of a file fall on one side,
    whatever their names, formats and order, and a file that is added changes little. Lossy copies
    are not recognised.
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
