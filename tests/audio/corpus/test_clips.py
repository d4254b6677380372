"""Clips drawn from recordings: from where, how often, and what surrounds them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio.corpus.cache import Recording
from distill.audio.corpus.clips import Split


def split_of(*recordings):
    """Make a split of arrays `[N, C]`, at 10 Hz, behind 5 samples that belong to another split."""
    samples = np.concatenate([np.full(5, 99), *(recording.ravel() for recording in recordings)])
    offsets = 5 + np.cumsum([0, *(recording.size for recording in recordings)])
    return Split(
        tuple(
            Recording(f"{i}.wav", recording.shape[1], len(recording), int(offsets[i]), f"{i}")
            for i, recording in enumerate(recordings)
        ),
        10,
        samples.astype(np.float32),
    )


def counting(samples, channels=1, start=1):
    """Make a recording whose samples count up from `start`, channel after channel."""
    return start + np.arange(samples * channels).reshape(channels, samples).T


def seeded(seed=0):
    """Make a generator."""
    return torch.Generator().manual_seed(seed)


def test_read():
    """A recording comes back as `[C, N]`, in memory of its own."""
    split = split_of(counting(4), counting(3, channels=2, start=10))
    whole = split.read(split.recordings[1])
    assert whole.dtype == torch.float32
    assert whole.tolist() == [[10, 11, 12], [13, 14, 15]]
    whole.zero_()
    assert split.read(split.recordings[1])[0, 0] == 10


def test_seconds():
    """The length counts samples per channel: 4 and 3 at 10 Hz are 0.7 s."""
    assert split_of(counting(4), counting(3, channels=2)).seconds == pytest.approx(0.7)
    assert split_of().seconds == 0


def test_the_generator_decides():
    """The same state of the generator draws the same clips; the next draw is another."""
    split = split_of(counting(1000), counting(500, channels=2))
    generator = seeded()
    first = split.draw(8, 64, generator)
    assert first.shape == (8, 64)
    assert first.dtype == torch.float32
    assert torch.equal(first, split.draw(8, 64, seeded()))
    assert not torch.equal(first, split.draw(8, 64, generator))


def test_a_short_recording_lies_whole_at_every_place():
    """Three samples in a clip of eight lie whole at one of six places, each equally often."""
    clips = split_of(counting(3)).draw(3000, 8, seeded())
    starts = (clips == 1).int().argmax(dim=1)
    for clip, start in zip(clips[:100], starts, strict=False):
        assert clip.tolist() == [0] * start + [1, 2, 3] + [0] * (5 - start)
    counts = torch.bincount(starts, minlength=6)
    assert len(counts) == 6
    assert (counts - 500).abs().max() < 100


def test_a_long_recording_is_covered_to_both_ends():
    """Clips of 8 from 20 samples start anywhere from -2 to 14, a quarter over each end, equally often."""
    clips = split_of(counting(20)).draw(8500, 8, seeded())
    starts = (clips[:, 4] - 5).int()
    assert sorted(set(starts.tolist())) == list(range(-2, 15))
    counts = torch.bincount(starts + 2)
    assert (counts - 500).abs().max() < 110
    assert clips[starts == -2][0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert clips[starts == 14][0].tolist() == [15, 16, 17, 18, 19, 20, 0, 0]


def test_every_channel_is_drawn():
    """The channels of a recording are drawn evenly and never mixed."""
    clips = split_of(counting(100, channels=3, start=1000)).draw(3000, 4, seeded())
    channels = (clips[:, 2] - 1000).div(100).floor().int()
    assert (torch.bincount(channels) - 1000).abs().max() < 150
    for clip in clips[:200]:
        sounding = clip[clip > 0]
        assert torch.equal(sounding.diff(), torch.ones(len(sounding) - 1))


def test_the_fourth_root_of_the_length_is_the_odds():
    """Of 100 samples and 1600 the longer is drawn twice as often (16 to the power of 1/4)."""
    split = split_of(counting(100), counting(1600, start=10_000))
    longer = (split.draw(5000, 8, seeded()).amax(dim=1) >= 10_000).float().mean()
    assert longer == pytest.approx(2 / 3, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_clips_are_pieces_of_one_channel_among_zeros(shapes, samples, seed):
    """A clip is one run of neighbouring samples of one channel, and zeros, whatever the lengths."""
    arrays = [counting(*shape, start=1000 * (i + 1)) for i, shape in enumerate(shapes)]
    for clip in split_of(*arrays).draw(20, samples, seeded(seed)).numpy():
        sounding = clip[clip > 0]
        length, channels = shapes[int(sounding[0]) // 1000 - 1]
        channel = int(sounding[0]) % 1000 // length
        assert channel < channels
        assert (np.diff(np.flatnonzero(clip)) == 1).all()
        assert (np.diff(sounding) == 1).all()
        assert int(sounding[-1]) % 1000 // length == channel
        assert len(sounding) >= min(length, samples - samples // 4)


@given(seed=st.integers(0, 1000), rows=st.lists(st.integers(-6, 5), max_size=8))
@settings(deadline=None)
def test_rows_are_read_out_of_all(seed, rows):
    """Some rows are those of the whole draw, and the generator goes on as if all had been read."""
    split = split_of(counting(40), counting(9, channels=2), counting(3))
    whole, some = seeded(seed), seeded(seed)
    expected = split.draw(6, 8, whole)[rows] if rows else split.draw(6, 8, whole)[:0]
    assert torch.equal(split.draw(6, 8, some, rows=rows), expected)
    assert torch.equal(whole.get_state(), some.get_state())


def test_a_split_has_no_state():
    """A split has an empty state, since the generator alone decides the clips."""
    split = split_of(counting(4))
    assert split.state_dict() == {}
    split.load_state_dict({})
