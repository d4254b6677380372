"""Clips from a stream of shards: which are drawn, when shards come and go, and how it goes on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.corpus import open_shards, stream
from distill.audio.corpus.shards import Manifest, Shard
from distill.audio.corpus.stream import Stream
from distill.errors import CorpusError

CLIP = 1600
STAY = 10  # clips of 0.2 s in a shard of two seconds


def opened(shards, **options):
    """Open the stream of the shards."""
    corpus = open_shards(str(shards), sample_rate=8000, **{"pool_shards": 2, "seed": 3} | options)
    return corpus.train


def seeded(seed=0):
    """Make a generator."""
    return torch.Generator().manual_seed(seed)


def heard(clips):
    """Tell the recordings that clips are of: sixteenths of full scale."""
    return [round(float(clip.abs().max()) * 16) for clip in clips]


def in_pool(train):
    """Name the recordings in the pool."""
    return {int(recording.name[:2]) + 1 for recording in train.recordings}


def test_the_length_is_that_of_all_shards(shards):
    """The length counts all twelve shards of a second, while memory has room for six of them."""
    train = opened(shards)
    assert train.seconds == 12
    assert len(train.recordings) == 4
    assert train._slots.shape == (3, 2 * 8000)  # noqa: SLF001  # the memory it takes


def test_a_recording_is_read_whole(shards):
    """A recording is read in full, with the samples that were written, to a step of 24 bits."""
    train = opened(shards)
    for recording in train.recordings:
        expected = torch.full((1, 8000), (int(recording.name[:2]) + 1) / 16)
        torch.testing.assert_close(train.read(recording), expected, rtol=0, atol=2**-23)


def test_a_shard_stays_until_as_much_has_been_drawn(shards):
    """After a shard's length of clips the oldest of two goes; before, nothing comes or goes."""
    train, generator = opened(shards), seeded()
    pools = []
    for _ in range(4 * STAY):
        assert set(heard(train.draw(1, CLIP, generator))) <= in_pool(train)
        pools.append(frozenset(in_pool(train)))
    changes = [step for step in range(1, len(pools)) if pools[step] != pools[step - 1]]
    assert changes == [STAY, 2 * STAY, 3 * STAY]
    assert all(len(pools[step] & pools[step - 1]) == 2 for step in changes)


def test_every_recording_is_heard_in_a_pass(shards):
    """Six shards of two seconds go by in as many seconds of clips, and in another order the next time."""
    train, generator = opened(shards, pool_shards=1), seeded()
    passes = [[heard(train.draw(STAY, CLIP, generator)) for _ in range(6)] for _ in range(2)]
    for lap in passes:
        assert {number for clips in lap for number in clips} == set(range(1, 13))
    first, second = ([set(clips) for clips in lap] for lap in passes)
    assert first != second


@given(
    count=st.integers(1, 9),
    processes=st.integers(1, 5),
    pool=st.integers(1, 4),
    seed=st.integers(0, 2**62),
)
def test_each_pass_is_dealt_out_once(count, processes, pool, seed):
    """The shards of all processes, taken in turns, form one shuffled pass after another."""
    shards = tuple(Shard(f"{number}.tar", 1, 1, 1, 1) for number in range(count))
    manifest = Manifest(8000, shards, ())
    dealt = []

    def read(location, shard, _):
        if not location:  # not that of a reader which another test has left
            dealt.append(shard.name)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "read_shard", read)
        streams = [
            Stream("", manifest, pool_shards=pool, seed=seed, process=process, processes=processes)
            for process in range(processes)
        ]
        for number in range(2 * count):
            for each in streams:
                each._fill(number)  # noqa: SLF001  # one after the other
    for lap in range(2):
        assert sorted(dealt[lap * count : (lap + 1) * count]) == [shard.name for shard in shards]


def test_processes_hear_shards_of_their_own(shards):
    """Processes with the same generator never share a shard, and their generators stay equal."""
    streams = [opened(shards, process=process, processes=2) for process in range(2)]
    generators = [seeded(), seeded()]
    for _ in range(3):
        for train, generator in zip(streams, generators, strict=True):
            assert train.draw(4, CLIP, generator, rows=[0, 1]).shape == (2, CLIP)
        assert torch.equal(generators[0].get_state(), generators[1].get_state())
        assert not in_pool(streams[0]) & in_pool(streams[1])
        assert streams[0].state_dict() == streams[1].state_dict()


@pytest.mark.parametrize("before", [1, 4, 5, 13, 37])
def test_it_goes_on_in_the_middle_of_a_shard(shards, before):
    """A resumed stream holds the same pool and draws the same clips, wherever it stopped."""
    straight, generator = opened(shards), seeded()
    for _ in range(before):
        straight.draw(2, CLIP, generator)
    state, drawn = straight.state_dict(), generator.get_state()
    assert state.items() >= {"drawn": 2 * before, "processes": 1}.items()
    resumed = opened(shards)
    resumed.load_state_dict(state)
    assert in_pool(resumed) == in_pool(straight)
    older = opened(shards)
    older.load_state_dict({"drawn": 2 * before, "processes": 1})  # of Distill 0.2.0
    assert older.state_dict()["drawn"] == 2 * before
    again = torch.Generator()
    again.set_state(drawn)
    for _ in range(STAY):
        assert torch.equal(straight.draw(2, CLIP, generator), resumed.draw(2, CLIP, again))


def test_a_seed_orders_the_shards(shards):
    """The same seed gives the same order of shards, and another seed gives another."""
    pools = [in_pool(opened(shards, seed=seed)) for seed in (0, 0, 1)]
    assert pools[0] == pools[1] != pools[2]


def test_another_number_of_processes_is_refused(shards):
    """The message names both numbers of processes and the remedy."""
    state = opened(shards, processes=2).state_dict()
    with pytest.raises(CorpusError) as caught:
        opened(shards).load_state_dict(state)
    assert str(caught.value) == (
        f"{shards}: its shards were divided among 2 processes, and now there are 1\n"
        "Go on with as many: torchrun with 2 processes in all."
    )


def test_a_shard_that_breaks_while_it_is_read_ahead(shards, tmp_path):
    """The error comes out of the draw that needs the shard, not of a thread's log."""
    train, generator = opened(shards, pool_shards=1), seeded()
    train.draw(1, CLIP, generator)
    train._reading.result()  # noqa: SLF001  # the second shard is there
    train.location = str(tmp_path)
    train.draw(STAY, CLIP, generator)
    train.draw(STAY, CLIP, generator)  # from the second, while the third is read
    with pytest.raises(CorpusError) as caught:
        train.draw(1, CLIP, generator)
    assert str(caught.value).startswith(f"{tmp_path}/train-")
    assert "the shard cannot be read: No such file or directory\n" in str(caught.value)
