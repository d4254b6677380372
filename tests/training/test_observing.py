"""Tests of distill.training.observing: what is told, and to whom."""

from pathlib import Path

import pytest

from distill.audio.corpus import open_arrays, open_shards
from distill.errors import InputError
from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.run import Run
from distill.training.observing import Extent, Observer, Outcome, Summary, TrainingWarning, require_observer


def test_a_summary_says_what_is_trained(tiny_tree, arrays):
    """The summary has the terms with their weights, the extent of the corpus and the model's size."""
    draft = read_recipe(tiny_tree, Registry(discover=False), loss="stft,kl")
    vae = make_model(draft.recipe.model, make_representation(draft.recipe.representation), seed=0)
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.1)
    summary = Summary.of(
        draft, Run(Path("run")), corpus, vae, start="nothing", device="cpu", precision="float32"
    )
    assert [(each.name, each.first_weight, each.last_weight) for each in summary.terms] == [
        ("stft", 1.0, 1.0),
        ("kl", 0.0, 0.01),
    ]
    assert summary.corpus == "<arrays>"
    assert summary.train == Extent(seconds=0.6, recordings=2)
    assert summary.heldout == Extent(seconds=0.3, recordings=1)
    assert summary.latents_per_second == 250
    assert summary.parameters == sum(each.numel() for each in vae.parameters())
    assert summary.recipe is draft.recipe


def test_the_extent_of_a_stream_is_that_of_its_shards(shards):
    """The extent of a stream is the sum of its six shards of two seconds."""
    stream = open_shards(str(shards), sample_rate=8000, pool_shards=2).train
    assert Extent.of(stream) == Extent(seconds=12.0, shards=6)


@pytest.mark.parametrize(("resumed_at", "finished"), [(None, False), (3, False), (4, True)])
def test_an_outcome_tells_whether_there_was_a_step_left(resumed_at, finished):
    """Only a run that was resumed can have been finished before."""
    outcome = Outcome(
        run=Run(Path("run")),
        step=4,
        resumed_at=resumed_at,
        interrupted=False,
        corpus="sounds",
        sharded=False,
        heldout=Extent(seconds=0.0),
    )
    assert outcome.was_finished is finished


def test_a_warning_reads_as_its_message():
    """A warning converts to the string of its message."""
    assert str(TrainingWarning(about="recipe", message="mind the gap")) == "mind the gap"


class Counting(Observer):
    """Defines one method; the others do nothing."""

    def __init__(self):
        self.records = 0

    def record(self, _):
        """Count it."""
        self.records += 1


class Whole:
    """Is no subclass, and has all methods."""

    summary = record = warning = done = print


def test_who_may_look_on():
    """An observer is a subclass, any object with the methods, or None."""
    for observer in (Counting(), Whole()):
        assert require_observer(observer) is observer
    nobody = require_observer(None)
    for method in (nobody.summary, nobody.record, nobody.warning, nobody.done, Counting().summary):
        assert method(None) is None
    with pytest.raises(InputError) as caught:
        require_observer(3)
    assert str(caught.value) == (
        "observer: an observer has the methods summary, record, warning and done: got 3\n"
        "Make it a subclass of distill.Observer, which has all four."
    )
