"""Tests of the measures of a run's recordings, and of the file in which the run keeps them."""

import json
import math
import re
import shutil
import tomllib

import attrs
import pytest

from distill.audio.corpus.membership import Membership
from distill.comparison import measures
from distill.comparison.measures import heldout_measures
from distill.errors import CorpusError, RunError
from distill.inference import load
from distill.storage.ending import Ending
from distill.storage.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of the trained run."""
    copy = Run(tmp_path / "run")
    shutil.copytree(trained.folder, copy.folder)
    return copy


@pytest.fixture
def measured(monkeypatch):
    """Return the names of the recordings that are measured from now on."""
    names = []

    def evaluate(reconstruct, recordings, **options):
        recordings = list(recordings)
        names.extend(name for name, _ in recordings)
        return original(reconstruct, recordings, **options)

    original = measures.evaluate
    monkeypatch.setattr(measures, "evaluate", evaluate)
    return names


def test_measures_are_those_of_an_evaluation(run):
    """The measures of each held-out file are those of an evaluation."""
    (found,) = heldout_measures(run.folder).files
    (row,) = load(run).evaluate(heldout=True, visqol=False).rows
    assert (found.name, found.trained_on, found.left_out) == (row.name, False, "")
    assert found.metrics == row.metrics


def test_measuring_twice_measures_once(run, measured):
    """A second call takes the stored measures and does not open the corpus."""
    first = heldout_measures(run)
    assert len(measured) == 1
    recipe = tomllib.loads(run.recipe.read_text())
    gone = run.recipe.read_text().replace(recipe["corpus"]["path"], str(run.folder / "gone"))
    run.recipe.write_text(gone)
    assert heldout_measures(run) == first
    assert len(measured) == 1


def test_other_recordings_are_measured_as_well(run, recordings, measured):
    """Recordings of a folder are measured, trained on or not, unless their measures are stored."""
    heldout_measures(run)
    found = heldout_measures(run, recordings)
    assert sorted(each.trained_on for each in found.files) == [False, True, True, True, True]
    assert sorted(measured) == sorted(each.name for each in found.files)
    assert set(found.values("mel")) == {each.digest for each in found.files}
    assert all(map(math.isnan, found.values("pesq").values()))


def test_what_is_kept_is_measured_again_where_it_is_damaged_or_old(run, measured):
    """Stored measures are replaced if they are damaged, of another form or of another model."""
    heldout_measures(run)
    whole = run.measures.read_text()
    for damaged in (
        whole[:-9],
        "[" * 100_000,
        whole.replace('"mel": ', '"mel": NaN, "unknown": '),
        re.sub('"mel": [^,]*', '"mel": 1e300', whole),  # whose square is not finite
        json.dumps(json.loads(whole) | {"recordings": []}),
        re.sub('"metrics": {.*?{}}', '"metrics": null', whole),  # and no reason
    ):
        measured.clear()
        run.measures.write_text(damaged)
        heldout_measures(run)
        assert len(measured) == 1
        assert run.measures.read_text() == whole
    run.model.unlink()  # the model is now that of the newest checkpoint
    Ending(state="interrupted").write(run)
    heldout_measures(run)
    assert len(measured) == 2


def test_progress_is_told(run):
    """Progress is reported for decoding and then for measuring."""
    told = []
    heldout_measures(run, on_progress=told.append)
    assert [each.stage for each in told][-1] == "measuring"
    assert (told[-1].done, told[-1].total) == (1, 1)


def test_a_run_that_held_out_nothing_is_one_message(run):
    """A run without held-out recordings, a model or its corpus is refused with one message."""
    attrs.evolve(Membership.read(run.split), heldout=()).write(run.split)
    with pytest.raises(RunError, match="the run held out no recordings"):
        heldout_measures(run)
    with pytest.raises(CorpusError, match="gone"):
        heldout_measures(run, run.folder / "gone")
    shutil.rmtree(run.checkpoints)
    run.model.unlink()
    Ending(state="interrupted").write(run)
    with pytest.raises(RunError, match="holds no trained model yet"):
        heldout_measures(run)
