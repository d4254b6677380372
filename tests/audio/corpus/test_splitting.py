"""The split by file into training and held-out recordings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.corpus.cache import Recording
from distill.audio.corpus.splitting import split_recordings


def recordings(digests):
    """Make recordings with these digests."""
    return [Recording(f"{i}.wav", 1, 100, 100 * i, digest) for i, digest in enumerate(digests)]


@pytest.mark.parametrize(
    ("count", "fraction", "heldout"),
    [
        (10, 0.2, 2),
        (10, 0.1, 1),
        (5, 0.1, 1),
        (2, 0.1, 1),
        (1, 0.5, 0),
        (10, 0.0, 0),
        (24, 0.1, 2),
        (3, 0.9, 2),
    ],
)
def test_counts(count, fraction, heldout):
    """`round(fraction * n)` are held out: at least one of two, none of one, never all (by hand)."""
    train, held = split_recordings(recordings([f"{i:04x}" for i in range(count)]), fraction)
    assert (len(train), len(held)) == (count - heldout, heldout)


def test_the_lowest_digests_are_held_out():
    """The rank is that of the digests, not of the names; both sides keep the order of the names."""
    train, held = split_recordings(recordings(["d", "a", "c", "b"]), 0.5)
    assert [recording.name for recording in train] == ["0.wav", "2.wav"]
    assert [recording.name for recording in held] == ["1.wav", "3.wav"]


def test_copies_count_once_and_stay_together():
    """Four files of two contents are two: one content is held out, with its copies."""
    train, held = split_recordings(recordings(["b", "a", "a", "a"]), 0.25)
    assert [recording.name for recording in train] == ["0.wav"]
    assert [recording.name for recording in held] == ["1.wav", "2.wav", "3.wav"]


@given(
    st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=30), st.floats(0, 0.9)
)
def test_nothing_is_lost_or_shared(digests, fraction):
    """Every recording is on one side, no content is on both, and something is left to train on."""
    given_recordings = recordings(digests)
    train, held = split_recordings(given_recordings, fraction)
    assert sorted((*train, *held), key=lambda recording: recording.offset) == given_recordings
    assert not {recording.digest for recording in train} & {recording.digest for recording in held}
    assert train


@given(st.sets(st.integers(0, 9999), min_size=2, max_size=30), st.integers(0, 9999), st.floats(0.05, 0.9))
def test_one_more_file_moves_at_most_one_other(numbers, added, fraction):
    """A file that is added changes the side of at most one file that was there."""
    digests = [f"{number:04d}" for number in sorted(numbers - {added})]
    before = {recording.digest for recording in split_recordings(recordings(digests), fraction)[1]}
    after = {
        recording.digest
        for recording in split_recordings(recordings([*digests, f"{added:04d}"]), fraction)[1]
    }
    assert len((before ^ after) - {f"{added:04d}"}) <= 1
