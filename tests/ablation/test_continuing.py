"""Where an ablation goes on: the folders that it accepts."""

import pytest

from distill.ablation.ablate import plan_ablation
from distill.ablation.continuing import changes, require_same_plan
from distill.ablation.folder import AblationFolder
from distill.errors import DistillError
from distill.storage.run import Run

GO_ON = "Run the same command as before to go on, or choose another folder with --out."


@pytest.fixture
def plan(recordings, tmp_path):
    """Return a function that plans an ablation in a folder in which one has begun."""
    folder = tmp_path / "out"

    def plan(**options):
        given = {"loss": "stft,recon", "each": True, "seeds": 2, "steps": 2, "out": folder} | options
        return plan_ablation(recordings, **given).plan

    begun = plan()
    AblationFolder(folder).write_plan(None, {run.name: run.recipe for run in begun.runs})
    return plan


def test_the_same_plan_goes_on_and_seeds_and_values_can_be_added(plan):
    """A plan can be continued with more seeds and values, as its trained runs stay comparable."""
    assert len(plan().runs) == 6
    assert len(plan(seeds=3).runs) == 9


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
        f"{tmp_path}: is not empty, and holds no ablation\nChoose a new folder with --out."
    )
    with pytest.raises(DistillError) as caught:
        plan_ablation(recordings, loss="stft,recon", each=True, out=tmp_path / "notes.txt")
    assert str(caught.value) == f"{tmp_path / 'notes.txt'}: is a file\nPass a folder with --out."


def test_a_run_that_train_has_made_counts_if_its_recipe_is_that_of_the_plan(shared, tmp_path):
    """A run of `train` with the recipe of the plan counts, whatever options training has settled."""
    found = plan_ablation(**shared.call, out=shared.folder).plan
    folder = AblationFolder(tmp_path / "out")
    (folder.path / "all-seed0").mkdir(parents=True)
    recipe = Run(shared.folder / "all-seed0").recipe.read_text()
    folder.run("all-seed0").recipe.write_text(recipe)
    require_same_plan(folder, found)
    folder.run("all-seed0").recipe.write_text(recipe.replace("batch_size = 2", "batch_size = 3"))
    with pytest.raises(DistillError) as caught:
        require_same_plan(folder, found)
    assert str(caught.value) == (
        f"{folder.path / 'all-seed0'}: is a run with another recipe:\ntraining.batch_size: 3, now 2\n{GO_ON}"
    )


def test_recipes_are_compared_however_deep_they_are():
    """Recipes that are nested too deeply to be shown are compared without an error."""
    deep = []
    for _ in range(2000):
        deep = [deep]
    assert changes({"a": deep}, {"a": 1}) == ["a: a value that is nested too deeply, now 1"]


def test_a_corpus_that_has_moved_is_no_other_plan(tmp_path):
    """A folder that is no longer there may be where it is given now. One beside it is another corpus."""
    (tmp_path / "old").mkdir()
    old, new = ({"corpus": {"path": str(tmp_path / name)}} for name in ("old", "new"))
    assert len(changes(old, new)) == 1
    (tmp_path / "new").mkdir()
    assert len(changes(old, new)) == 1
    (tmp_path / "old").rmdir()
    assert changes(old, new) == []
    assert len(changes(old, {"corpus": {"path": "https://a/b"}})) == 1
