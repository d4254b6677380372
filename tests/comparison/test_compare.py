"""Tests of comparisons of runs, and of what becomes of runs that cannot be compared."""

import json
import re
import shutil

import attrs
import pytest

import distill
from distill.audio.corpus.membership import Membership
from distill.comparison.page import render
from distill.comparison.text import lines_of
from distill.errors import ConfigError, CorpusError, InputError, RunError
from distill.storage.ending import Ending
from distill.storage.run import Run


@pytest.fixture
def bare(tmp_path):
    """Return a function that writes a run with a recipe and nothing else."""

    def write(name, recipe=""):
        run = Run(tmp_path / name)
        run.folder.mkdir(parents=True)
        run.recipe.write_text(recipe)
        return run

    return write


def test_runs_of_one_corpus_are_compared_on_what_they_held_out(comparison, compared_runs):
    """The result is data that JSON holds, with the names of the runs."""
    told = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [(each["name"], each["terms"]) for each in told["runs"]] == [
        ("first", ["stft", "reconstruction", "kl"]),
        ("second", ["reconstruction", "kl"]),
    ]
    differences = {each["address"]: each["values"] for each in told["differences"]}
    assert differences["loss.stft"] == ["used", None]
    assert differences["training.learning_rate"] == ["0.001", "0.01"]
    (recording,) = told["recordings"]
    assert recording["trained_on"] == []
    mel = next(each for each in told["measures"] if each["measure"] == "mel")
    assert (mel["best"], mel["recordings"]) == ("lowest", 1)
    one, other = mel["runs"]
    assert other["difference"]["mean"] == pytest.approx(other["mean"] - one["mean"])
    assert (other["difference"]["low"], other["better"]) == (None, None)  # a single recording
    assert compared_runs[0].measures.is_file()


def test_the_text_fits_a_terminal(comparison):
    """The text fits 80 columns, and says which differences count."""
    lines = str(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["A  first, finished", "B  second, finished"]
    assert "Means over 1 recording that both runs held out; * is the best." in lines
    assert any(
        re.fullmatch(r"mel distance +[+-]\d\.\d\d \(one recording\) +no difference found", line)
        for line in lines
    )


def test_how_much_of_a_training_is_compared_is_said(comparison):
    """Text, page and data say how much of its training a run has kept, where that is not all."""
    facts = comparison.facts
    quarter = attrs.evolve(facts.runs[0], ending=Ending(state="finished", kept=0.25))
    changed = attrs.evolve(facts, runs=(quarter, *facts.runs[1:]))
    assert lines_of(changed)[0] == "A  first, finished, 25% kept"
    assert "<td>finished, 25% kept</td>" in render(changed)
    assert quarter.to_dict()["kept"] == 0.25


def test_recordings_that_a_run_was_trained_on_are_marked_and_left_out(compared_runs, recordings, tmp_path):
    """Recordings that a run was trained on are left out and marked, unless they are asked for."""
    told = distill.compare(compared_runs, on=recordings).to_dict()
    assert [(len(each["trained_on"]), each["used"]) for each in told["recordings"]].count((2, False)) == 4
    assert told["notes"] == [
        "4 recordings that a run was trained on are left out of the table; --trained takes them in."
    ]
    told = distill.compare(compared_runs, on=recordings, trained=True).to_dict()
    assert all(each["used"] for each in told["recordings"])
    assert told["notes"] == [
        (
            "A run was trained on 4 recordings of the table, which favours it. "
            "Without --trained, they are left out."
        )
    ]
    with pytest.raises(CorpusError):
        distill.compare(compared_runs, on=tmp_path / "gone")


def test_files_that_cannot_be_used_are_said(compared_runs, recordings, tmp_path):
    """Files of other recordings that cannot be read are listed with the reason, and no control characters."""
    sound = tmp_path / "on" / "a.wav"
    sound.parent.mkdir()
    shutil.copy(recordings / "a.wav", sound)
    sound.with_name("b\a.wav").write_text("nothing")
    told = distill.compare(compared_runs, on=sound.parent, trained=True).to_dict()
    assert told["notes"] == [
        "A run was trained on 1 recording of the table, which favours it. Without --trained, it is left out.",
        "1 file cannot be used: b\N{REPLACEMENT CHARACTER}.wav (is not audio that libsndfile reads).",
    ]
    with pytest.raises(InputError) as caught:
        distill.compare(compared_runs, on=[("c", [], 8000)])
    assert str(caught.value).splitlines()[0] == "c: expected the shape [N] or [C, N], N > 0, got [0]"


def test_held_out_recordings_that_are_gone_are_said(compared_runs, recordings, tmp_path):
    """A run whose held-out recordings are no longer in its corpus is compared on the others, with a note."""
    runs = [Run(shutil.copytree(run.folder, tmp_path / run.folder.name)) for run in compared_runs]
    corpus = shutil.copytree(recordings, tmp_path / "corpus")
    for run in runs:
        run.measures.unlink(missing_ok=True)
        run.recipe.write_text(run.recipe.read_text().replace(str(recordings), str(corpus)))
        kept = Membership.read(run.split)
        more = attrs.evolve(kept.heldout[0], name="gone", digest="0" * 64)
        attrs.evolve(kept, heldout=(*kept.heldout, more)).write(run.split)
    notes = distill.compare(runs).to_dict()["notes"]
    assert notes == [
        f"{run.folder.name} held out 1 recording that is not in its corpus any more. "
        "Put it back to compare on it, too."
        for run in runs
    ]


def test_runs_without_common_recordings_have_no_table(compared_runs, tmp_path):
    """Runs without common recordings are compared without a table, and the remedy is given."""
    other = Run(tmp_path / "other")
    shutil.copytree(compared_runs[1].folder, other.folder)
    split = Membership.read(other.split)
    attrs.evolve(split, heldout=split.train[:1], train=split.heldout).write(other.split)
    told = distill.compare([compared_runs[0], other]).to_dict()
    assert told["measures"] == []
    assert told["differences"]
    (note,) = told["notes"]
    assert note == (
        "The runs held out no recording in common. Compare them on recordings that none was trained on: "
        "--on FOLDER."
    )


def test_runs_without_a_model_or_of_another_version_are_compared_by_what_they_have(compared_runs, bare):
    """Runs that cannot be measured give the reason; a metrics file cut short loses its last line only."""
    new, future = bare("new"), bare("future", "[model]\nfuture = 1\n")
    new.outcome.write_text('{"state":')
    new.metrics.write_text('{"step": 1, "split": "train", "components": {"total": 1.0}}\nx\n{"step": 2, "sp')
    told = distill.compare([*compared_runs, new, future]).to_dict()
    assert [each["steps"] for each in told["runs"]] == [4, 3, 1, 0]
    assert told["measures"][0]["runs"][2] == {"mean": None, "difference": None, "best": False, "better": None}
    unmeasured, unread, damaged, unfinished = told["notes"]
    assert unmeasured == (
        "new is not measured: holds no trained model yet. "
        "Train it on with --resume; a model is saved every few minutes and at the end."
    )
    assert unread.startswith("future is not measured: model.future: unknown option")
    assert damaged == (
        "new: 1 line of metrics.jsonl that is no record is left out of the curves. "
        "Restore the file from a copy, if there is one."
    )
    assert unfinished == (
        "new: outcome.json is damaged; the run is taken for interrupted, as its other files say."
    )
    told = distill.compare([new, future]).to_dict()
    assert told["notes"][2] == (
        "There is nothing to compare by: fewer than two runs are measured. Choose another run that is."
    )


def test_a_run_without_its_split_is_compared_on_other_recordings(compared_runs, tmp_path):
    """The note on a run that does not say what it held out names the option of this command."""
    run = Run(shutil.copytree(compared_runs[1].folder, tmp_path / "run"))
    run.split.unlink()
    note = distill.compare([compared_runs[0], run]).to_dict()["notes"][0]
    assert note == (
        "run is not measured: there is no record of which recordings the run trained on, "
        "and which it held out. Use recordings that it was not trained on: --on FOLDER."
    )


def test_runs_of_one_name_are_told_apart_by_their_folders(bare):
    """Runs of one name are told apart by as much of their paths as is needed."""
    told = distill.compare([bare("a/run"), bare("b/run").folder]).to_dict()
    assert [each["name"] for each in told["runs"]] == ["a/run", "b/run"]


def test_what_cannot_be_compared_is_one_message(compared_runs, bare, tmp_path):
    """The call refuses a single run, a repeated run, a missing folder and a damaged recipe."""
    first = compared_runs[0].folder
    remedy = "\nPass the folder that `distill train --out` wrote."
    for given, error, message in (
        ([first], InputError, "runs: expected two runs or more\nPass the folders of several runs."),
        (
            str(first),
            InputError,
            "runs: expected two runs or more\nPass the folders of several runs.",
        ),
        ([first, f"{first}/../first"], InputError, f"{first}/../first: is given twice\nPass each run once."),
        (
            [tmp_path / "a", first, tmp_path / "b"],
            RunError,
            "\n".join(f"{tmp_path / name}: there is no such run folder" for name in "ab") + remedy,
        ),
        (
            [first, tmp_path],
            RunError,
            f"{tmp_path}: is not a run folder: it holds no recipe.toml{remedy}",
        ),
    ):
        with pytest.raises(error) as caught:
            distill.compare(given)
        assert str(caught.value) == message
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        distill.compare([first, bare("damaged", "[loss")])
    with pytest.raises(ConfigError, match=r"recipe\.toml: loss: expected a table, got 5\n"):
        distill.compare([first, bare("broken", "loss = 5\n")])
