"""Plans of ablations."""

import pytest

from distill.ablation.ablate import plan_ablation
from distill.errors import ConfigError, DistillError
from distill.plugin.hookspecs import TermConfig, TermSpec

WEIGHTS = ("stft.weight", "reconstruction.weight")
NOT_INSTALLED = TermSpec(name="a", config=TermConfig, build=object, summary="")


@pytest.fixture
def plan(recordings, tmp_path):
    """Return a function that plans an ablation."""

    def plan(loss="stft,recon,kl", **options):
        return plan_ablation(recordings, loss=loss, out=tmp_path / "out", **options).plan

    return plan


def test_each_term_is_left_out_in_turn(plan):
    """For each seed, the whole list comes first; terms have the names that the user gave them."""
    found = plan(each=True, seeds=2, steps=7)
    assert [run.name for run in found.runs] == [
        *("all-seed0", "without-stft-seed0", "without-recon-seed0", "without-kl-seed0"),
        *("all-seed1", "without-stft-seed1", "without-recon-seed1", "without-kl-seed1"),
    ]
    assert found.reference.name == "all"
    assert [list(run.recipe["loss"]) for run in found.runs[:3]] == [
        ["stft", "reconstruction", "kl"],
        ["reconstruction", "kl"],
        ["stft", "kl"],
    ]
    assert {(run.seed, run.recipe["training"]["seed"]) for run in found.runs} == {(0, 0), (1, 1)}
    assert {run.recipe["training"]["steps"] for run in found.runs} == {7}


def test_weights_of_the_remaining_terms_stay_as_they_are(plan):
    """Weights that the user or the default loss sets stay as they are when a term is left out."""
    weighted = plan(each=True, seeds=1, options={"stft.weight": 3.0, "loss.kl.weight_max": 0.5})
    assert [run.recipe["loss"].get("stft", {}).get("weight") for run in weighted.runs] == [
        3,
        None,
        3,
        3,
    ]
    default = plan(loss=None, each=True, seeds=1)
    whole, *others = default.runs
    assert whole.recipe["loss"]["waveform"]["weight"] == 0.25
    assert len(others) == 3
    for run in others:
        for name, options in run.recipe["loss"].items():
            assert options == whole.recipe["loss"][name]


def test_a_grid_is_every_combination_and_its_first_values_are_the_reference(plan):
    """With `each`, terms are left out of the reference."""
    found = plan(grid={"stft.weight": [1, 2], "training.learning_rate": [1e-3, 1e-4]}, seeds=1)
    assert [variant.name for variant in found.variants] == [
        *("stft.weight=1,learning_rate=0.001", "stft.weight=1,learning_rate=0.0001"),
        *("stft.weight=2,learning_rate=0.001", "stft.weight=2,learning_rate=0.0001"),
    ]
    assert [run.recipe["loss"]["stft"]["weight"] for run in found.runs] == [1, 1, 2, 2]
    assert found.variants[1].difference == "stft.weight=1, learning_rate=0.0001"
    both = plan(grid={"stft.weight": [5, 6]}, each=True, seeds=1)
    assert [variant.name for variant in both.variants[2:]] == ["without-stft", "without-recon", "without-kl"]
    assert both.runs[3].recipe["loss"]["stft"]["weight"] == 5


def test_values_that_look_alike_have_runs_of_their_own(plan):
    """Values whose shortened names are alike have run folders of their own."""
    found = plan(grid={"training.start": ["a/b", "a:b", "none"]}, seeds=1)
    assert [run.name for run in found.runs] == [
        "start=a_b-seed0",
        "start=a_b-2-seed0",
        "start=none-seed0",
    ]


def test_the_only_term_is_not_left_out(plan):
    """The only term of a loss is not left out, and the plan says so."""
    found = plan(loss="stft", each=True, grid={"stft.weight": [1, 2]}, seeds=1)
    assert found.kept == "stft"
    assert [variant.left_out for variant in found.variants] == ["", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            (
                "ablation: nothing varies\nAdd --each to leave each term out in turn, or several values: "
                "--set loss.stft.weight=0.5,1,2"
            ),
        ),
        (
            {"loss": "stft", "each": True},
            (
                "ablation: 'stft' is the only term, and is not left out: nothing varies\n"
                "Choose several terms: --loss stft,recon,kl"
            ),
        ),
        (
            {"each": True, "options": {"loss.stft.wieght": 1}},
            "loss.stft.wieght: unknown option, got 1; did you mean 'weight'?",
        ),
        (
            {"grid": {"loss.stft.weight": [1, -1, "a"]}},
            'loss.stft.weight: must be >= 0, got -1\nloss.stft.weight: expected a number, got "a"',
        ),
        (
            {"each": True, "minutes": 1, "steps": 1},
            "training: set either minutes or steps, not both: 1 and 1",
        ),
        ({"each": True, "seeds": [1, 1]}, "seeds: a seed is given twice\nPass each seed once."),
        (
            {"grid": {"training.seed": [1, 2]}},
            "training.seed: each run has a seed of its own; pass them with --seeds",
        ),
        (
            {"grid": {"training.batch_size": range(1, 201)}, "seeds": 100},
            (
                "these are 20,000 runs, and 10,000 at most are made\n"
                "Try fewer values or seeds, or search: --search N with ranges."
            ),
        ),
        (
            {"grid": dict.fromkeys(("training.batch_size", *WEIGHTS), range(1, 501)), "seeds": 1},
            (
                "these are 125,000,000 runs, and 10,000 at most are made\n"
                "Try fewer values or seeds, or search: --search N with ranges."
            ),
        ),
        (
            {"each": True, "seeds": "9" * 5000},
            (
                f"seeds: expected the number of seeds, or seeds, got '{'9' * 59}…\n"
                "For example 3 for the seeds 0, 1 and 2, or 7,8,9 for these."
            ),
        ),
        (
            {"loss": ["stft", NOT_INSTALLED], "each": True},
            (
                "loss: the terms of an ablation have to be installed, since its runs are processes "
                "of their own\n"
                "Make a plugin of it: distill losses new NAME"
            ),
        ),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_one_message(plan, options, message):
    """The error is raised before anything is trained."""
    with pytest.raises(DistillError) as caught:
        plan(**options)
    assert str(caught.value) == message


def test_a_corpus_or_recordings_that_are_not_there(plan, tmp_path):
    """A missing corpus or recording is reported before the first run."""
    with pytest.raises(DistillError) as caught:
        plan_ablation(tmp_path / "no", loss="stft,kl", each=True, out=tmp_path / "out")
    assert (
        str(caught.value) == f"{tmp_path / 'no'}: there is no such file or folder\n"
        "Pass a folder of recordings, or a single recording."
    )
    with pytest.raises(DistillError) as caught:
        plan(each=True, on=tmp_path / "no")
    assert (
        str(caught.value) == f"{tmp_path / 'no'}: there is no such file or folder\n"
        "Pass a folder of recordings, or a single recording."
    )


def test_one_value_in_two_ways(plan):
    """Two variants with the same recipe would be compared as if they differed."""
    with pytest.raises(DistillError) as caught:
        plan(grid={"model.encoder_blocks": [[1, 1], (1, 1)]})
    assert str(caught.value) == (
        "model.encoder_blocks=_1__1_-2: has the same recipe as model.encoder_blocks=_1__1_\n"
        "Pass each value once."
    )


@pytest.mark.parametrize(
    ("fixed", "grid", "address", "ways"),
    [
        (
            {},
            {"recon.weight": [1, 2], "loss.reconstruction.weight": [3, 4]},
            "reconstruction.weight",
            ("1, 2 as 'recon.weight'", "3, 4 as 'loss.reconstruction.weight'"),
        ),
        (
            {"loss.stft.weight": 2},
            {"stft.weight": [1, 2]},
            "stft.weight",
            ("2 as 'loss.stft.weight'", "1, 2 as 'stft.weight'"),
        ),
        (
            {"loss.recon.weight": 2},
            {"reconstruction.weight": [1, 2]},
            "reconstruction.weight",
            ("2 as 'loss.recon.weight'", "1, 2 as 'reconstruction.weight'"),
        ),
        (
            {"loss.stft": {"weight": 2}},
            {"stft.weight": [1, 2]},
            "stft.weight",
            ("2 as 'loss.stft'", "1, 2 as 'stft.weight'"),
        ),
        (
            {"training.free_bits": 0.5},
            {"kl.free_bits": [0.1, 0.2]},
            "kl.free_bits",
            ("0.5 as 'training.free_bits'", "0.1, 0.2 as 'kl.free_bits'"),
        ),
    ],
)
def test_one_option_by_two_addresses(fixed, grid, address, ways, plan):
    """An option of which values are tried is set once, by whichever address: no value wins in silence."""
    one, other = ways
    with pytest.raises(ConfigError) as caught:
        plan(grid=grid, options=fixed)
    assert str(caught.value) == f"loss.{address}: is set twice, to {one} and to {other}; set it once"


def test_an_argument_that_is_also_tried(plan):
    """A length that is given as an argument and as values of the grid is refused, too."""
    with pytest.raises(ConfigError) as caught:
        plan(grid={"training.steps": [1, 2]}, steps=3)
    assert str(caught.value) == (
        "training.steps: is set twice, to 3 as the argument steps and to 1, 2 as 'training.steps'; "
        "set it once"
    )
    with pytest.raises(ConfigError) as caught:
        plan(each=True, options={"training": {"steps": 4}}, steps=3)
    assert str(caught.value) == (
        "training.steps: is set twice, to 3 as the argument steps and to 4 as 'training'; set it once"
    )
    with pytest.raises(ConfigError) as caught:
        plan(grid={"training.steps": [3, 4], "model.width": ["x"]}, steps=3)
    assert str(caught.value) == 'model.width: expected a whole number, got "x"'
