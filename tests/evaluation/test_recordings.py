"""What `distill evaluate` measures is what was asked for, or one message says why not."""

import json
import shutil

import pytest

from distill.audio.corpus import write_shards
from distill.errors import CorpusError, RunError
from distill.evaluation.recordings import corpus_of, open_measured
from distill.storage.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be changed."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.fixture
def opened(tmp_path):
    """Open recordings."""

    def open_it(run, corpus=None, *, heldout=False):
        return open_measured(
            run, None if corpus is None else str(corpus), heldout=heldout, sample_rate=8000,
            cache=tmp_path / "cache",
        )  # fmt: skip

    return open_it


def members(run, split):
    """Return the names of the recordings that a run trained on or held out."""
    return [each["name"] for each in json.loads(run.split.read_text())[split]]


def test_without_a_corpus_that_of_the_run_is_measured(run, opened):
    """All recordings of the run's own corpus are opened, with what is known of them."""
    measured = opened(run)
    assert measured.count == 5
    assert {name for name, _ in measured.recordings()} == set(measured.trained_on)
    trained = [name for name, trained_on in measured.trained_on.items() if trained_on]
    assert trained == members(run, "train")


def test_what_was_held_out_is_found_wherever_it_is(run, opened, recordings, tmp_path):
    """Held-out recordings are found in another folder, under other names and among other files."""
    (name,) = members(run, "heldout")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(recordings / name, folder / "renamed.wav")
    shutil.copy(recordings / members(run, "train")[0], folder)
    measured = opened(run, folder, heldout=True)
    assert [name for name, _ in measured.recordings()] == ["renamed.wav"]
    assert (measured.count, measured.absent, measured.trained_on) == (1, 0, {"renamed.wav": False})


def test_what_was_held_out_and_is_gone_is_counted(run, opened, recordings):
    """Held-out recordings that are missing are counted, and the rest is measured."""
    told = json.loads(run.split.read_text())
    del told["digest"]  # as one has to who edits the file
    told["heldout"].append({"name": "gone.wav", "digest": "0"})
    run.split.write_text(json.dumps(told))
    measured = opened(run, recordings, heldout=True)
    assert (measured.count, measured.absent) == (1, 1)


def test_a_corpus_without_what_was_held_out(run, opened, recordings, tmp_path):
    """The message says that the folder holds no held-out recording, and how to name the right one."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(recordings / members(run, "train")[0], tmp_path / "elsewhere")
    with pytest.raises(CorpusError) as caught:
        opened(run, tmp_path / "elsewhere", heldout=True)
    assert str(caught.value) == (
        f"{tmp_path / 'elsewhere'}: holds none of the recordings that the run held out, 1 in all\n"
        "Pass the folder where they are: distill evaluate RUN CORPUS --heldout"
    )


def test_a_run_that_held_out_nothing(run, opened):
    """The message says that the run held out nothing, and asks for other recordings."""
    told = json.loads(run.split.read_text())
    del told["digest"]
    run.split.write_text(json.dumps(told | {"heldout": []}))
    with pytest.raises(RunError) as caught:
        opened(run, heldout=True)
    assert str(caught.value) == (
        f"{run.folder}: the run held out no recordings\n"
        "Use recordings that it was not trained on: distill evaluate RUN CORPUS"
    )


def test_a_run_without_a_record(run, opened, recordings):
    """A missing record is an error with `heldout`; otherwise it is unknown what the run trained on."""
    run.split.unlink()
    with pytest.raises(RunError) as caught:
        opened(run, heldout=True)
    assert str(caught.value) == (
        f"{run.split}: there is no record of which recordings the run trained on, and which it held out\n"
        "Use recordings that it was not trained on: distill evaluate RUN CORPUS"
    )
    assert set(opened(run, recordings).trained_on.values()) == {None}


def test_a_corpus_that_has_moved(run, opened, tmp_path):
    """The message names the missing folder of the corpus and asks for the new one."""
    gone = tmp_path / "gone"
    run.recipe.write_text(f"[corpus]\npath = {json.dumps(str(gone))}\n")
    with pytest.raises(CorpusError) as caught:
        opened(run)
    assert str(caught.value) == (
        f"{gone}: the corpus of the run is no longer there\n"
        "Pass the folder where it is now: distill evaluate RUN CORPUS"
    )


def test_the_demo_corpus_is_that_of_a_run_that_names_none(run, opened):
    """A run that names no corpus is measured on all 24 sounds of the demo corpus."""
    run.recipe.write_text("")
    assert opened(run).count == 24


def test_held_out_shards(run, opened, tmp_path, recordings):
    """The held-out part of shards is opened; with `heldout` the run must be trained on shards."""
    shards = tmp_path / "shards"
    write_shards(recordings, shards, sample_rate=8000, heldout_fraction=0.3, minutes=1)
    pieces = sum(each["pieces"] for each in json.loads((shards / "shards.json").read_text())["heldout"])
    measured = opened(run, shards)
    assert measured.count == pieces == len(list(measured.recordings()))
    with pytest.raises(CorpusError) as caught:
        opened(run, shards, heldout=True)
    assert str(caught.value) == (
        f"{shards}: it is not known which recordings of these shards the run held out\n"
        "Use the recordings themselves."
    )
    told = {"corpus": str(shards), "sharded": True, "train": [], "heldout": [{"name": "a", "digest": ""}]}
    run.split.write_text(json.dumps(told))
    assert opened(run, shards, heldout=True).count == pieces


def test_the_corpus_of_a_run(run, recordings):
    """The corpus is the one in the run's recipe; none stands for the demo corpus."""
    assert corpus_of(run) == str(recordings)
    run.recipe.write_text("")
    assert corpus_of(run) is None
