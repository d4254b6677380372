"""The folder of an ablation: what it takes for its own."""

import json
import os

import pytest

from distill.ablation.ablate import plan_ablation
from distill.ablation.place import Place, ablation_lock, changed, require_fitting
from distill.errors import DistillError, LockError, RunError
from distill.storage.run import Run

GO_ON = "Give the same command as before to go on, or another folder with --out."


@pytest.fixture
def plan(recordings, tmp_path):
    """Return a function that plans an ablation in a folder in which one has begun."""
    folder = tmp_path / "out"

    def plan(**options):
        given = {"loss": "stft,recon", "each": True, "seeds": 2, "steps": 2, "out": folder} | options
        return plan_ablation(recordings, **given).plan

    begun = plan()
    Place(folder).write_plan(None, {trial.name: trial.recipe for trial in begun.trials})
    return plan


def test_the_same_plan_goes_on_and_seeds_and_values_can_be_added(plan):
    """A plan can be continued with more seeds and values, as its trained runs stay comparable."""
    assert len(plan().trials) == 6
    assert len(plan(seeds=3).trials) == 9


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"steps": 3}, ["training.steps: 2, now 3"]),
        ({"minutes": 1, "steps": None}, ["training.minutes: unset, now 1.0", "training.steps: 2, now unset"]),
        (
            {"options": {"stft.weight": 2}},
            [
                f"{name}-seed{s}: loss.stft.weight: 1.0, now 2.0"
                for s in (0, 1)
                for name in ("all", "without-recon")
            ],
        ),
        ({"seeds": 1}, ["all-seed1: is no longer in the plan", "without-stft-seed1: is no longer in the plan",
                        "without-recon-seed1: is no longer in the plan"]),
    ],
)  # fmt: skip
def test_another_plan_is_refused_with_what_differs(plan, tmp_path, options, lines):
    """Another plan is refused with what differs, as its runs would not be comparable."""
    with pytest.raises(DistillError) as caught:
        plan(**options)
    assert str(caught.value) == "\n".join(
        [
            f"{tmp_path / 'out'}: holds an ablation with another plan:",
            *lines,
            f"{GO_ON} Seeds and values can be added.",
        ]
    )


def test_a_folder_of_something_else_is_refused(recordings, tmp_path):
    """Nothing is written among a user's files."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DistillError) as caught:
        plan_ablation(recordings, loss="stft,recon", each=True, out=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: is not empty, and holds no ablation\nGive a new folder with --out."
    )
    with pytest.raises(DistillError) as caught:
        plan_ablation(recordings, loss="stft,recon", each=True, out=tmp_path / "notes.txt")
    assert str(caught.value) == f"{tmp_path / 'notes.txt'}: is a file\nGive a folder with --out."


def test_a_run_that_train_has_made_counts_if_its_recipe_is_that_of_the_plan(shared, tmp_path):
    """A run of `train` with the recipe of the plan counts, whatever options training has settled."""
    found = plan_ablation(**shared.call, out=shared.folder).plan
    place = Place(tmp_path / "out")
    (place.folder / "all-seed0").mkdir(parents=True)
    recipe = Run(shared.folder / "all-seed0").recipe.read_text()
    place.run("all-seed0").recipe.write_text(recipe)
    require_fitting(place, found)
    place.run("all-seed0").recipe.write_text(recipe.replace("batch_size = 2", "batch_size = 3"))
    with pytest.raises(DistillError) as caught:
        require_fitting(place, found)
    assert str(caught.value) == (
        f"{place.folder / 'all-seed0'}: is a run with another recipe:\ntraining.batch_size: 3, now 2\n{GO_ON}"
    )


def test_a_damaged_plan_is_one_message(tmp_path):
    """A folder without a plan is one message, too."""
    place = Place(tmp_path)
    for content, problem in (
        (None, "is not the folder of an ablation"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
    ):
        if content is not None:
            place.plan.write_text(content)
        with pytest.raises(DistillError) as caught:
            place.read_plan()
        assert caught.value.problem == problem
    for wrong in ({}, {"corpus": 5, "runs": {}}, {"corpus": None, "runs": {"a": 5}}):
        place.plan.write_text(json.dumps({"format": 1 if wrong else 2} | wrong))
        with pytest.raises(DistillError, match="is damaged"):
            place.read_plan()
    place.plan.unlink()
    os.mkfifo(place.plan)  # which is not waited for
    with pytest.raises(DistillError, match="is damaged"):
        place.read_plan()
    place.plan.unlink()
    os.mkfifo(place.plan)  # would be waited for
    with pytest.raises(DistillError, match="is damaged"):
        place.read_plan()


@pytest.mark.parametrize("name", ["logs", "logs/processes.txt", "jobs", "study.log"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    """A link in the folder is refused before anything is written through it."""
    link = tmp_path / "folder" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path)
    with pytest.raises(RunError) as caught, ablation_lock(Place(tmp_path / "folder")):
        pass
    assert str(caught.value) == f"{link}: is a link\nRemove it."


def test_recipes_are_compared_however_deep_they_are():
    """Recipes that are nested too deeply to be shown are compared without an error."""
    deep = []
    for _ in range(900):
        deep = [deep]
    assert changed({"a": deep}, {"a": 1}) == ["a: a value that is nested too deeply, now 1"]


def test_two_processes_do_not_run_one_ablation(tmp_path):
    """The second one is refused, with a remedy."""
    with ablation_lock(Place(tmp_path)), pytest.raises(LockError) as caught, ablation_lock(Place(tmp_path)):
        pass
    assert str(caught.value) == (
        f"{tmp_path}: another thread of this process is running this ablation\n"
        "Wait until it has ended, or give another folder with --out."
    )
