"""A run knows which recordings it was trained on, wherever they are and whatever they are called."""

import hashlib
import json

import attrs
import pytest
import soundfile

from distill.audio.corpus import open_corpus, open_shards
from distill.audio.corpus.membership import Member, Membership
from distill.errors import RunError

TRAINED, HELD_OUT = Member("a.wav", "aa"), Member("b.wav", "bb")
MEMBERSHIP = Membership(corpus="sounds", sharded=False, train=(TRAINED,), heldout=(HELD_OUT,))


def test_it_is_read_as_it_was_written(tmp_path):
    """A record is read as it was written, and is JSON that other programs can read."""
    path = tmp_path / "split.json"
    MEMBERSHIP.write(path)
    assert Membership.read(path) == MEMBERSHIP
    content = {
        "corpus": "sounds",
        "former": [],
        "heldout": [{"digest": "bb", "name": "b.wav"}],
        "sharded": False,
        "train": [{"digest": "aa", "name": "a.wav"}],
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    assert json.loads(path.read_text()) == content | {"digest": digest}


def test_a_corpus_that_is_moved_is_known_again(recordings, tmp_path):
    """A recording is known by its samples: in another folder, by another name, as FLAC."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "one", heldout_fraction=0.4)
    membership = Membership.of(corpus)
    assert membership.corpus == str(recordings)
    assert len(membership.train) == 3
    assert len(membership.heldout) == 2
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, source in enumerate(sorted(recordings.rglob("*.wav"))):
        samples, rate = soundfile.read(source, dtype="int16")
        soundfile.write(moved / f"{number}.flac", samples, rate)
    soundfile.write(moved / "other.wav", [0.1, 0.2], 8000)
    # Another sample rate makes no difference either.
    found = open_corpus(moved, sample_rate=4000, cache=tmp_path / "two", heldout_fraction=0).train.recordings
    assert [membership.trained_on(each.digest) for each in found].count(True) == 3
    assert [membership.held_out(each.digest) for each in found].count(True) == 2
    assert (membership.trained_on(found[-1].digest), membership.held_out(found[-1].digest)) == (False, False)


def test_a_sharded_corpus_is_known_by_its_shards(shards):
    """Shards are recorded by name, without digests, so no single recording is known to be trained on."""
    corpus = open_shards(str(shards), sample_rate=8000, pool_shards=1)
    membership = Membership.of(corpus)
    assert membership.sharded
    names = [each["name"] for each in json.loads((shards / "shards.json").read_text())["train"]]
    assert [each.name for each in membership.train] == names
    assert membership.train[0] == Member("train-000000.tar", "")
    assert membership.heldout == ()
    assert membership.trained_on("aa") is None
    assert not membership.held_out("")
    assert membership.after(membership) == membership


def test_what_was_trained_on_once_stays_trained_on():
    """Recordings once trained on stay so when a run resumes with a changed corpus and another split."""
    other = Member("c.wav", "cc")
    later = attrs.evolve(MEMBERSHIP, train=(HELD_OUT, other), heldout=(Member("renamed.wav", "aa"),))
    both = later.after(MEMBERSHIP)
    assert (both.train, both.heldout, both.former) == ((HELD_OUT, other), (), (TRAINED,))
    assert both.trained_on("aa")
    assert not both.held_out("aa")
    assert attrs.evolve(both, train=(other,)).after(both).former == (TRAINED, HELD_OUT)
    assert both.after(both) == both
    assert MEMBERSHIP.after(MEMBERSHIP) == MEMBERSHIP


def test_there_is_no_record(tmp_path):
    """The message names the record that is missing and the remedy."""
    with pytest.raises(RunError) as caught:
        Membership.read(tmp_path / "split.json")
    assert str(caught.value) == (
        f"{tmp_path / 'split.json'}: there is no record of which recordings the run trained on, and which it "
        "held out\nUse recordings that it was not trained on: distill evaluate RUN CORPUS"
    )


def test_a_record_that_was_changed(tmp_path):
    """A change of one letter that leaves valid JSON is found; without its digest the record is accepted."""
    path = tmp_path / "split.json"
    MEMBERSHIP.write(path)
    text = path.read_text()
    path.write_text(text.replace('"corpus": "sounds"', '"corpus": "soundt"'))
    with pytest.raises(RunError) as caught:
        Membership.read(path)
    assert str(caught.value) == (
        f"{path}: the record of which recordings the run trained on has changed since it was written\n"
        'Restore it from a copy, or remove "digest" from it if you have edited it.'
    )
    edited = attrs.evolve(MEMBERSHIP, corpus="soundt")
    assert Membership.read(path, edited=True) == edited
    path.write_text(json.dumps(attrs.asdict(edited)))
    assert Membership.read(path) == edited


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"corpus": "a"}', '{"corpus": 1}'])
def test_a_damaged_record(tmp_path, text):
    """The message names the record that is damaged and the remedy."""
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(RunError) as caught:
        Membership.read(path)
    assert str(caught.value) == (
        f"{path}: the record of which recordings the run trained on is damaged\n"
        "Use recordings that it was not trained on: distill evaluate RUN CORPUS"
    )
