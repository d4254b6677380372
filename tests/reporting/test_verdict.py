"""Tests of the verdict: each rule says what it is to say, and nothing where it does not apply."""

import attrs
import numpy as np
import pytest

from distill.reporting.findings import Evidence
from distill.reporting.history import History, Series
from distill.reporting.verdict import judge


def series(values, every=10):
    """Return a series of a value every ten steps."""
    values = np.array(values, float)
    return Series(steps=every * np.arange(1, len(values) + 1), values=values)


def history(heldout=None, train=None, **others):
    """Return a history of totals."""
    train = np.linspace(2, 1, 40) if train is None else train
    return History(
        step=400,
        progress=0.5,
        train={"total": series(train)},
        heldout={} if heldout is None else {"total": series(heldout, every=20)},
        **others,
    )


def rules(**evidence):
    """Return the findings by their rule."""
    found = judge(Evidence(folder="runs/a b", **{"state": "finished", **evidence}))
    return {each.rule: each for each in found}


FALLING = 1 + np.exp(-np.arange(20) / 20)
FLAT = 1 + np.exp(-np.arange(20) * 2.0)
TURNING = np.concatenate([np.linspace(2, 1, 8), np.linspace(1.02, 1.4, 12)])


@pytest.mark.parametrize(
    ("heldout", "rule"),
    [(FALLING, "improving"), (FLAT, "converged"), (TURNING, "overfitting"), (FALLING[:5], "too early")],
)
def test_the_trend_is_that_of_the_heldout_loss(heldout, rule):
    """The trend of the held-out loss comes first, and no other trend is told."""
    found = rules(history=history(heldout))
    assert [*found] == [rule]


def test_few_steps_have_no_trend_however_often_they_are_measured():
    """A run of few steps has no trend, however often its held-out loss was measured."""
    few = attrs.evolve(history(FLAT), heldout={"total": series(FLAT, every=4)})
    finding = rules(history=few)["too early"]
    assert finding.because == "There are 80 steps, and a trend takes 100."


def test_one_value_has_no_trend():
    """One value is counted in the singular."""
    assert rules(history=history(FALLING[:1]))["too early"].because == (
        "There is 1 value of the held-out loss, and a trend takes 6."
    )


def test_overfitting_names_the_step_to_stop_at():
    """The message about overfitting names the step at which the held-out loss was lowest."""
    finding = rules(history=history(TURNING))["overfitting"]
    assert finding.title == "Learning by heart"
    assert finding.because == (
        "The held-out loss was lowest at step 160, 1, and has risen to 1.365 since, "
        "while the training loss has fallen."
    )
    assert finding.advice == "Stop at about step 160, add recordings, or lower training.keep."


def test_a_rise_of_both_losses_is_no_overfitting():
    """A rise of both losses is not called overfitting."""
    found = rules(history=history(TURNING, train=[*np.linspace(2, 1, 16), *np.linspace(1, 3, 24)]))
    assert [*found] == ["rising"]


@pytest.mark.parametrize("seed", range(10))
def test_scatter_is_no_trend(seed):
    """Values that scatter as much as they like neither fall nor rise, whichever of them is the lowest."""
    scatter = 1 + 0.3 * np.random.default_rng(seed).standard_normal(30)
    assert rules(history=history(scatter)).keys() & {"overfitting"} == set()


def test_without_heldout_recordings_the_training_loss_is_judged():
    """Without held-out recordings the training loss is judged, and the verdict says what it cannot show."""
    finding = rules(history=history(None), heldout=0)
    assert [*finding] == ["improving", "nothing held out"]
    assert finding["improving"].because == (
        "The training loss has fallen by 26.1% over the last third of the run, to 1.026. "
        "Nothing is held out, so learning by heart cannot be seen."
    )
    assert finding["improving"].command == "distill train --resume --out 'runs/a b' --minutes M"


def test_a_run_without_records_says_so():
    """The verdict on a run without records says only that there are none."""
    assert [*rules()] == ["no records"]


@pytest.mark.parametrize(
    ("state", "title"),
    [
        ("failed", "The run has failed"),
        ("interrupted", "The run was interrupted"),
        ("running", "The run is still training"),
    ],
)
def test_the_state_comes_first(state, title):
    """The verdict begins with the state of the run, unless the run is finished."""
    found = judge(Evidence(folder="r", state=state, history=history(FLAT), message="NaN"))
    assert [each.title for each in found] == [title, "Converged"]
    assert state != "failed" or found[0].because == "NaN"


def terms(**weighted):
    """Return a history of terms with a weight of 1, each with its values."""
    ones = series(np.ones(20))
    return History(
        train={"total": series(FLAT), **{name: series(values) for name, values in weighted.items()}},
        heldout={"total": series(FLAT)},
        weights=dict.fromkeys(weighted, ones),
    )


def test_a_term_that_adds_nothing_is_dead():
    """A term is called dead by its share in the last quarter of the run."""
    found = rules(history=terms(mel=FALLING, stft=FALLING, kl=1e-5 * FALLING))
    assert [*found] == ["converged", "dead term"]
    assert found["dead term"].title == "kl has almost no part in the loss"
    assert found["dead term"].command == "distill losses profile --run 'runs/a b'"
    assert found["dead term"].because == (
        "Its weighted value is 0.00% of the sum in the last quarter, less than 0.1%."
    )


def test_a_term_that_is_nearly_all_dominates():
    """A term that is nearly all of the loss is said to dominate, unless it is the only one."""
    found = rules(history=terms(mel=FALLING, stft=0.05 * FALLING))
    assert found["dominant term"].title == "mel dominates the loss"
    assert [*rules(history=terms(mel=FALLING))] == ["converged"]


def test_a_term_that_never_changes_is_named():
    """Its value is the same in every record."""
    found = rules(history=terms(mel=FALLING, stft=np.ones(20)))
    assert found["constant term"].because == "It is 1 in all of 20 records."
    assert found["constant term"].command == "distill losses check stft"


def test_a_term_of_weight_0_is_only_watched():
    """A term of weight 0 is reported as only watched, not as a fault."""
    watched = terms(mel=FALLING, stft=FALLING)
    watched.weights["stft"] = series(np.zeros(20))
    assert rules(history=watched)["switched off"].title == "stft is only watched"


BEGUN = "what you hear is the model that the training began with."
BETWEEN = (
    "What you hear is a model between the one that the training began with and the one that it ended with "
    "(training.keep). The curves are of all of it."
)


@pytest.mark.parametrize(
    ("evidence", "rule", "because"),
    [
        ({"train": 19}, "few recordings", "The model is trained on 19, fewer than 20."),
        (
            {"train": 30, "skipped": 4},
            "skipped files",
            "4 files of the corpus are skipped; the reasons are listed below.",
        ),
        (
            {"levels": {"a": -3.4, "b": 1.0}},
            "level",
            "1 of 2 reconstructions differs by more than 3 dB: a (-3.4 dB).",
        ),
        (
            {"levels": {"a": None, "b": 1.0}},
            "level",
            "1 of 2 reconstructions differs by more than 3 dB: a (silent).",
        ),
        ({"clipped": ("a",)}, "clipping", "1 recording is turned down on this page."),
        ({"active": 3, "units": 40}, "unused latents", "3 of 40 units are active."),
        (
            {"kept": 0.05},
            "part kept",
            BETWEEN,
        ),
        ({"kept": 0.02}, "little kept", f"2% of it is kept (training.keep): {BEGUN}"),
        ({"kept": 0.0}, "little kept", f"Nothing of it is kept (training.keep): {BEGUN}"),
    ],
)
def test_what_else_is_said(evidence, rule, because):
    """Each further finding is told beside the trend, with its numbers."""
    found = rules(history=history(FLAT), **evidence)
    assert [*found] in (["converged", rule], [rule, "converged"])
    assert found[rule].because == because


@pytest.mark.parametrize(
    "evidence",
    [
        {"train": 20},
        {"train": 30, "skipped": 3},
        {"levels": {"a": 3.0}},
        {"active": 4, "units": 40},
        {"kept": 1.0},
        {"kept": None},
    ],
)
def test_nothing_is_said_at_the_limit(evidence):
    """Values at the limits themselves cause no finding."""
    assert [*rules(history=history(FLAT), **evidence)] == ["converged"]


def test_values_that_are_not_finite_are_left_out():
    """Values that are not finite are left out, and the run is judged by the others."""
    assert [*rules(history=history([*FALLING[:10], np.nan, *FALLING[10:]]))] == ["improving"]


def measured(shares, cosines=None):
    """Return a history of terms with equal values, and with these shares of the gradient in each record."""
    ones = series(np.linspace(1, 2, 40))
    return attrs.evolve(
        history(FLAT),
        train={"total": series(np.linspace(2, 1, 40)), **dict.fromkeys(shares, ones)},
        weights=dict.fromkeys(shares, ones),
        gradient_shares={name: series([share]) for name, share in shares.items()},
        cosines={pair: series([cosine]) for pair, cosine in (cosines or {}).items()},
    )


def test_terms_are_judged_by_their_gradient_where_it_was_measured():
    """Terms are judged by their recorded gradients where there are any, and one measurement is enough."""
    found = rules(history=measured({"stft": 0.9705, "mel": 0.0005, "kl": 0.0, "recon": 0.029}))
    assert [*found] == ["converged", "dominant term", "dead term", "no gradient"]
    assert found["dominant term"].title == "stft dominates the gradient"
    assert found["dominant term"].because == (
        "It has 97% of the gradient in the last quarter, more than 95%, so that the other terms change "
        "little."
    )
    assert found["dominant term"].command == "distill losses profile --run 'runs/a b' --target ..."
    assert found["dead term"].because == "It has 0.05% of the gradient in the last quarter, less than 0.1%."
    assert found["no gradient"].title == "kl does not change the model"


@pytest.mark.parametrize(("cosine", "told"), [(-0.05, False), (-0.4, True)])
def test_a_term_against_the_others(cosine, told):
    """A term opposes the others by its mean cosine; of two terms, the one with less gradient is named."""
    shares = {"stft": 0.5, "mel": 0.3, "odd": 0.2}
    cosines = {("stft", "mel"): 0.9, ("stft", "odd"): cosine - 0.1, ("mel", "odd"): cosine + 0.1}
    found = rules(history=measured(shares, cosines))
    assert ("opposed term" in found) == told
    if told:
        assert found["opposed term"].title == "odd works against the other terms"
        assert found["opposed term"].because == (
            "The mean cosine between its gradient and theirs is -0.40 in the last quarter, below -0.1: what "
            "lowers it raises the others."
        )
    pair = judge(
        Evidence(
            folder="run",
            state="finished",
            history=measured({"stft": 0.7, "odd": 0.3}, {("stft", "odd"): cosine}),
        )
    )
    assert [each.title for each in pair if each.rule == "opposed term"] == [
        "odd works against the other terms"
    ] * told


def test_a_term_that_changes_nothing_hides_no_trend():
    """The term `kl` hides no trend where the encoder is kept, though it is most of the total."""
    told = 0.05 * FALLING + 4
    run = attrs.evolve(
        history(told, train=0.05 * np.linspace(2, 1, 40) + 4),
        gradient_shares={"kl": series([0.0, 0.0]), "stft": series([1.0, 1.0])},
        parameter_shares={"kl": series([0.0, 0.0]), "stft": series([1.0, 1.0])},
        weights={"kl": series([0.01] * 40), "stft": series([0.05] * 40)},
        heldout_weights={"kl": series([0.01] * 20, every=20), "stft": series([0.05] * 20, every=20)},
    )
    run = attrs.evolve(
        run,
        train=run.train | {"kl": series([400.0] * 40), "stft": series(np.linspace(2, 1, 40))},
        heldout=run.heldout | {"kl": series([400.0] * 20, every=20), "stft": series(FALLING, every=20)},
    )
    assert "converged" in rules(history=attrs.evolve(run, parameter_shares={}))
    improving = rules(history=run)["improving"]
    assert improving.because.startswith("The held-out loss without kl, which changes nothing, has fallen by ")
