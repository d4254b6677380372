"""`distill.ablate`, from a corpus to what each term is worth."""

import csv
import json
import math
import shutil

import pytest
import torch
from attrs import evolve
from safetensors.torch import load_file

import distill
from distill.ablation.folder import AblationFolder
from distill.audio.corpus.membership import Membership
from distill.comparison.measures import heldout_measures
from distill.storage.ending import Ending, ending_of
from distill.storage.run import Run


def test_the_result_is_the_difference_of_the_measures_of_the_runs(shared):
    """The result is the difference of each variant from the reference on the held-out recordings."""
    reference, other = (
        [each.metrics.mel for each in heldout_measures(shared.folder / f"{name}-seed0").files]
        for name in ("all", "without-stft")
    )
    (mel,) = (
        each for each in shared.found.effects if (each.variant, each.measure) == ("without-stft", "mel")
    )
    differences = [two - one for one, two in zip(reference, other, strict=True)]
    assert mel.difference.mean == pytest.approx(math.fsum(differences) / len(differences))
    assert mel.reference == pytest.approx(math.fsum(reference) / len(reference))
    assert shared.found.failed == {}


def test_each_run_is_a_normal_run_folder_of_one_split(shared):
    """Each run opens with `distill.load`, and the same recordings are held out of all."""
    names = ["all-seed0", "without-stft-seed0", "without-recon-seed0"]
    for name in names:
        assert distill.load(shared.folder / name).run.folder == shared.folder / name
    assert len({(shared.folder / name / "split.json").read_text() for name in names}) == 1


def test_files_have_the_result(shared):
    """The folder has the result as JSON and as CSV."""
    told = json.loads((shared.folder / "ablation.json").read_text())
    assert [each["name"] for each in told["variants"]] == ["all", "without-stft", "without-recon"]
    with (shared.folder / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(told["effects"]) == len(shared.found.effects)


def test_progress_tells_of_each_run(shared):
    """Progress is reported for the steps of each run and for its end."""
    assert [each.last for each in shared.told if each.last] == [
        *("all-seed0", "without-stft-seed0", "without-recon-seed0"),
    ]
    assert shared.told[-1].done == ("all-seed0", "without-stft-seed0", "without-recon-seed0")
    assert shared.told[-1].seconds_left == 0
    assert 1 in {run.step for each in shared.told for run in each.running}


def test_what_is_done_is_not_done_again_and_a_run_that_was_stopped_goes_on(shared, tmp_path):
    """A repeated call keeps whole runs, resumes stopped ones and ends in the same weights, bit by bit."""
    folder = tmp_path / "out"

    def stop(status):
        if status.running and status.running[0].name == "without-stft-seed0" and status.running[0].step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill.ablate(**shared.call, out=folder, on_progress=stop)
    assert ending_of(Run(folder / "without-stft-seed0")).state == "interrupted"
    assert not (folder / "without-recon-seed0").exists()
    first = (folder / "all-seed0" / "outcome.json").stat().st_mtime_ns
    told = []
    found = distill.ablate(**shared.call, out=folder, on_progress=told.append)
    assert [each.last for each in told if each.last] == ["without-stft-seed0", "without-recon-seed0"]
    assert (folder / "all-seed0" / "outcome.json").stat().st_mtime_ns == first
    one, two = (
        load_file(each / "without-stft-seed0" / "model.safetensors") for each in (folder, shared.folder)
    )
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert found.effects == shared.found.effects


def test_other_recordings_can_be_measured(shared, recordings):
    """A note names recordings that a run was trained on."""
    found = distill.ablate(**shared.call, out=shared.folder, on=recordings / "below")
    assert {each.recordings for each in found.effects} == {1}
    assert found.notes == ("1 of the recordings was trained on: measure on others with --on.",)
    distill.ablate(**shared.call, out=shared.folder)


HIDES = "That hides what a term does: compare with --set training.keep=1, in another folder."


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({}, f"1 of 3 runs has not kept all of the training, as less of it measured better. {HIDES}"),
        ({"training.keep": 0.5}, ""),
    ],
)
def test_a_training_that_is_kept_in_part_is_said(shared, tmp_path, options, note):
    """A note says that runs have kept a part of their training, unless that was asked for."""
    folder = tmp_path / "out"
    shutil.copytree(shared.folder, folder)
    if options:
        for name in ("plan.json", "ablation.json", "ablation.csv"):
            (folder / name).unlink()
        for recipe in folder.glob("*/recipe.toml"):
            recipe.write_text(recipe.read_text().replace("[training]\n", "[training]\nkeep = 0.5\n"))
    Ending(state="finished", kept=0.5).write(Run(folder / "all-seed0"))
    call = {**shared.call, "options": {**shared.call["options"], **options}}
    assert distill.ablate(**call, out=folder).notes == (note,) * bool(note)


def test_the_runs_of_the_first_seed_are_on_a_page_to_compare(shared, tmp_path):
    """The page is left out with the pages of the runs."""
    assert shared.found.page is None
    folder = tmp_path / "out"
    shutil.copytree(shared.folder, folder)
    (folder / "plan.json").unlink()
    options = {**shared.call["options"], "training.page": True}
    for name in ("all", "without-stft", "without-recon"):
        recipe = folder / f"{name}-seed0" / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("page = false", "page = true"))
    for path in ("ablation.json", "ablation.csv"):
        (folder / path).unlink()
    found = distill.ablate(**{**shared.call, "options": options}, out=folder)
    assert found.page == folder / "comparison.html"
    text = found.page.read_text()
    assert "without-stft-seed0" in text
    assert found.notes == ()


@pytest.mark.parametrize("out", [None, "chosen"])
def test_without_a_folder_the_same_call_finds_its_own(shared, tmp_path, monkeypatch, out):
    """Without a folder the call uses one in `runs/` named for the corpus, and another for another plan."""
    monkeypatch.chdir(tmp_path)
    planned = distill.plan_ablation(**shared.call, out=out)
    stem = f"ablation-{shared.call['corpus'].name}"
    assert str(planned.folder) == (out or f"runs/{stem}")
    if out is None:
        AblationFolder(planned.folder).write_plan(
            None, {each.name: each.recipe for each in planned.plan.runs}
        )
        assert distill.plan_ablation(**shared.call).folder == planned.folder
        assert str(distill.plan_ablation(**{**shared.call, "steps": 3}).folder) == f"runs/{stem}-2"


def test_runs_of_different_recordings_are_said(shared, tmp_path):
    """A corpus that changed between the runs makes their differences worth nothing, which a note says."""
    folder = tmp_path / "out"
    shutil.copytree(shared.folder, folder)
    split = folder / "without-recon-seed0" / "split.json"
    membership = Membership.read(split)
    evolve(membership, train=membership.train[1:]).write(split)
    assert distill.ablate(**shared.call, out=folder).notes[-1] == (
        "The corpus has changed between runs, which were trained on different recordings: "
        "do not trust their differences."
    )
