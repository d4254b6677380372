"""Tests of distill.audio.corpus.continuing: a resumed run has the recordings that it was trained with."""

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio.corpus import Corpus, Recording, Split, open_shards
from distill.audio.corpus.continuing import Changes, Digests, as_recorded
from distill.audio.corpus.membership import Membership


def corpus_of(train, heldout=()):
    """Return a corpus of recordings, given as names and digests."""
    samples = np.zeros(4 * (len(train) + len(heldout)), np.float32)
    recordings = [
        Recording(name, 1, 4, offset=4 * number, digest=digest)
        for number, (name, digest) in enumerate([*train, *heldout])
    ]
    splits = recordings[: len(train)], recordings[len(train) :]
    train_split, heldout_split = (Split(tuple(each), 8000, samples) for each in splits)
    return Corpus(folder="sounds", sample_rate=8000, train=train_split, heldout=heldout_split, skipped=())


def told(split):
    """Return names and digests."""
    return [(each.name, each.digest) for each in split.recordings]


RECORDED = corpus_of([("a", "1"), ("b", "2"), ("copy", "2")], [("c", "3"), ("d", "4")])


def test_names_and_order_do_not_matter():
    """The corpus is that of the record, though all names and the split are others."""
    now = corpus_of([("z", "1"), ("y", "3"), ("b", "2")], [("v", "2"), ("u", "4")])
    assert attrs.asdict(Digests.of(now)) != attrs.asdict(Digests.of(RECORDED))
    found, changes = as_recorded(now, Membership.of(RECORDED), 0.5)
    assert not changes
    assert told(found.train) == [("z", "1"), ("b", "2"), ("v", "2")]
    assert told(found.heldout) == [("y", "3"), ("u", "4")]
    assert Digests.of(found) == Digests.of(RECORDED)


def test_changes_are_told():
    """Changes are told by name, held-out recordings apart; a missing second copy counts as a change."""
    now = corpus_of([("a", "1"), ("b", "2"), ("e", "5")], [("c", "3")])
    found, changes = as_recorded(now, Membership.of(RECORDED), 0.5)
    assert changes == Changes(added=("e",), missing=("copy",), missing_heldout=("d",))
    assert str(changes) == "1 missing: copy; 1 missing that were held out: d; 1 new: e"
    assert told(found.train) == [("a", "1"), ("b", "2"), ("e", "5")]
    assert told(found.heldout) == [("c", "3")]
    assert str(Changes(added=tuple("abcdefg"))) == "7 new: a, b, c, d, e and 2 more"


digests = st.lists(st.sampled_from("123456789"), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(before=digests, now=digests, count=st.integers(0, 4), former=digests)
def test_nothing_changes_sides(before, now, count, former):
    """No held-out recording, or copy of it, is ever trained on, nor the other way round."""
    count = min(count, len(before))
    held = set(before[:count])
    heldout = [(f"h{number}", each) for number, each in enumerate(before) if each in held]
    train = [(f"t{number}", each) for number, each in enumerate(before) if each not in held]
    recorded = Membership.of(corpus_of(train, heldout))
    recorded = attrs.evolve(recorded, former=Membership.of(corpus_of([("f", each) for each in former])).train)
    found, changes = as_recorded(corpus_of([(f"n{n}", each) for n, each in enumerate(now)]), recorded, 0.3)
    trained, held_now = ({each.digest for each in split.recordings} for split in (found.train, found.heldout))
    assert not trained & held_now
    assert not trained & held
    assert not held_now & ({each for _, each in train} | {*former} - held)
    assert sorted([*told(found.train), *told(found.heldout)]) == sorted(
        (f"n{n}", each) for n, each in enumerate(now)
    )
    assert bool(changes) == (sorted(before) != sorted(now))


def test_shards_are_compared_by_their_list(shards):
    """Sharded corpora are compared by the names and lengths of their shards, wherever they are."""
    corpus = open_shards(str(shards), sample_rate=8000, pool_shards=1)
    found, changes = as_recorded(corpus, Membership.of(corpus), 0.1)
    assert (found, bool(changes)) == (corpus, False)
    recorded = Membership.of(corpus)
    fewer = attrs.evolve(recorded, train=recorded.train[1:], heldout=recorded.train[:1])
    other = attrs.evolve(fewer, train=(*fewer.train, attrs.evolve(fewer.train[0], name="gone.tar")))
    assert not as_recorded(corpus, fewer, 0.1)[1]
    assert str(as_recorded(corpus, other, 0.1)[1]) == "1 missing: gone.tar"
    first = corpus.train.manifest
    longer = attrs.evolve(first, train=(attrs.evolve(first.train[0], frames=9), *first.train[1:]))
    before = Digests.of(corpus)
    corpus.train.manifest = longer
    assert Digests.of(corpus) != before
