"""Tests of `distill losses profile`: what it measures at which model, and the weights it finds."""

import json
import re
import shutil

import pytest

pytestmark = pytest.mark.usefixtures("only_built_in")


@pytest.fixture
def profile(distill):
    """Run the command on two batches; return what it printed, as data if so asked."""

    def run(*words):
        result = distill("losses", "profile", "--batches", 2, *words)
        assert (result.status, result.err) == (0, "")
        return json.loads(result.out) if "--json" in words else result.out

    return run


@pytest.fixture
def refused(distill):
    """Run the command on what is wrong with it; return the message."""

    def run(*words):
        result = distill("losses", "profile", *words)
        assert (result.status, result.out) == (2, "")
        return result.err.removeprefix("Error: ")

    return run


def shares(record):
    """Return the share of each term."""
    return {term["name"]: term["share"] for term in record["terms"]}


def test_all_that_is_measured_is_there_as_json(profile, trained):
    """The JSON holds values per term and per pair over all clips, with the loss and weights of the run."""
    record = profile("--run", trained.folder, "--json")
    assert list(record) == ["clips", "balancer", "terms", "cosines"]
    assert record["clips"] == 4
    assert [(term["name"], term["weight"], term["measured_at"]) for term in record["terms"]] == [
        ("stft", 1.0, "output"),
        ("reconstruction", 0.1, "output"),
        ("kl", 0.01, "posterior"),
    ]
    for term in record["terms"]:
        assert min(term["value"], term["forward_ms"], term["backward_ms"], term["norm"]) > 0
        assert not term["changes_nothing"]
    assert sum(shares(record).values()) == pytest.approx(1)
    pairs = [pair["terms"] for pair in record["cosines"]]
    assert pairs == [["stft", "reconstruction"], ["stft", "kl"], ["reconstruction", "kl"]]
    assert all(-1 <= pair["cosine"] <= 1 for pair in record["cosines"])


def test_the_weights_printed_give_the_shares_wanted(profile, trained):
    """The printed weights give the target shares at the same model and clips, to four digits."""
    words = ("--run", trained.folder, "--json")
    target = profile(*words, "--target", "stft=6,recon=3,kl=1")["target"]
    assert target["wanted"] == pytest.approx({"stft": 0.6, "reconstruction": 0.3, "kl": 0.1})
    assert target["left_out"] == []
    assert list(target["weights"]) == ["loss.stft.weight", "loss.reconstruction.weight", "loss.kl.weight_max"]
    settings = [word for option in target["weights"].items() for word in ("--set", "{}={}".format(*option))]
    assert shares(profile(*words, *settings)) == pytest.approx(target["wanted"], rel=2e-3)


def test_terms_without_weight_get_one(profile, trained):
    """A target finds a weight for terms of weight zero, and for a schedule that ends at a half."""
    words = ("--run", trained.folder, "--json", "--set", "loss.stft.schedule=[[0, 1], [1, 0.5]]")
    off = ("--set", "loss.stft.weight=0", "--set", "loss.kl.weight_max=0")
    assert shares(profile(*words, *off)) == {"stft": 0, "reconstruction": 1, "kl": 0}
    target = profile(*words, *off, "--target", "stft=1,recon=1,kl=2")["target"]
    settings = [word for option in target["weights"].items() for word in ("--set", "{}={}".format(*option))]
    expected = {"stft": 0.25, "reconstruction": 0.25, "kl": 0.5}
    assert shares(profile(*words, *settings)) == pytest.approx(expected, rel=2e-3)


def test_terms_may_be_others_than_those_of_the_run(profile, trained):
    """Other terms than those of the run can be measured, and options of shared terms are kept."""
    record = profile(
        "--run", trained.folder, "--loss", "waveform,kl", "--set", "loss.kl.weight_max=2", "--json"
    )
    assert [(term["name"], term["weight"]) for term in record["terms"]] == [("waveform", 1), ("kl", 2)]


def test_the_options_of_a_run_hold(profile, tmp_path, trained):
    """A term is measured with the options that the recipe of the run gives it."""
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("weight_max = 0.01", "weight_max = 0.5"))
    assert profile("--run", run, "--loss", "kl", "--json")["terms"][0]["weight"] == 0.5


def test_terms_have_learnt_what_they_did_in_the_run(profile, trained, monkeypatch):
    """A term with parameters is measured as the run left it; without a run there is nothing to load."""
    loaded = []
    monkeypatch.setattr(
        "distill.training.profiling.load_terms",
        lambda run, loss: loaded.append((run.folder, [*loss.origins])),
    )
    profile("--run", trained.folder, "--loss", "recon,kl")
    assert loaded == [(trained.folder, ["reconstruction", "kl"])]


def test_without_a_run_the_model_is_one_that_begins(
    profile, distill, recordings, tiny, tmp_path, monkeypatch
):
    """The model starts from what `training.start` says, here the model of a run, not from random weights."""
    monkeypatch.chdir(tmp_path)
    words = (recordings, *tiny, "--loss", "recon,kl", "--json")
    by_chance = profile(*words)["terms"][0]["value"]
    distill("train", recordings, *tiny, "--loss", "recon,kl", "--steps", 40, "--out", "run")
    started = profile(*words, "--set", "training.start=run")["terms"][0]["value"]
    assert started < 0.9 * by_chance


def test_without_a_run_clips_are_those_of_a_training_that_begins(
    profile, distill, recordings, tiny, tmp_path, monkeypatch
):
    """Of a training that begins with a model, they are not changed in speed or mixed."""
    monkeypatch.chdir(tmp_path)
    distill("train", recordings, *tiny, "--loss", "recon,kl", "--steps", 1, "--out", "run")
    words = (recordings, *tiny, "--loss", "recon,kl", "--json", "--set", "training.start=run")
    unchanged = ("--set", "training.speed=0", "--set", "training.mix=0")
    values = [term["value"] for term in profile(*words)["terms"]]
    assert values == [term["value"] for term in profile(*words, *unchanged)["terms"]]


@pytest.mark.parametrize(
    ("size", "still"), [(2000, ["kl"]), (250, [])], ids=["rich", "axes, which are trained"]
)
def test_a_term_that_changes_nothing_in_the_model_is_named(
    profile, recordings, tiny, tmp_path, monkeypatch, size, still
):
    """A term of the posterior alone has a share, but no effect while the encoder is kept."""
    monkeypatch.chdir(tmp_path)
    sizes = ("--set", f"model.latents_per_second={size}", "--set", "training.encoder_rate=0")
    words = (recordings, *tiny, "--loss", "recon,kl", *sizes)
    terms = profile(*words, "--json")["terms"]
    assert [term["name"] for term in terms if term["changes_nothing"]] == still
    said = "Changes nothing, whatever its share, since training keeps the encoder: kl."
    assert (said in " ".join(profile(*words).split())) == bool(still)


def test_what_a_person_reads(profile, trained):
    """The printed text is the expected one, apart from the numbers."""
    text = profile("--run", trained.folder, "--loss", "recon,kl,stft", "--target", "recon=1,stft=3")
    assert re.sub(r"( *)-?\d[\d.]*(e[-+]\d+)?", lambda found: " #" if found[1] else "#", text) == (
        """\
                   value  forward ms  backward ms    weight   gradient   share
reconstruction # # # # # #%
kl # # # # # #%
stft # # # # # #%

Means over # clips, with the weights at the end of a training run. Times are medians of each term
computed alone, after a warm-up. A gradient is the weight times the norm at the decoder's output,
averaged over clips. A share is the part of the sum of the gradients.
Measured at the posterior, not at the output: kl. The gradient is scaled by the ratio of the other
terms' gradients at the output and at the posterior.

cosine          reconstruction     kl   stft
reconstruction # # #
kl # # #
stft # # #

                share now  wanted
reconstruction #% #%
stft #% #%
Shares are those among these terms. Left out, with unchanged weight: kl.

Weights for these shares:
--set loss.reconstruction.weight=# --set loss.stft.weight=#
"""
    )


def test_a_run_with_a_balancer_has_no_weights_to_be_found(
    profile, refused, distill, recordings, tiny, tmp_path
):
    """The weights are shown as they are, with a remark, and a target is refused with one message."""
    run = tmp_path / "run"
    words = ("--loss", "stft,recon,kl", "--balance", "gradient", *tiny, "--steps", 1, "--out", run)
    assert distill("train", recordings, *words).status == 0
    assert ("Weights are those of the recipe, without the changes by the balancer 'gradient'.\n") in profile(
        "--run", run
    )
    assert refused("--run", run, "--target", "stft=1,kl=1") == (
        "--target: the balancer 'gradient' sets the weights, so that no others can be chosen\n"
        "Leave it out, or measure a run that was trained without --balance.\n"
    )


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("stft=1,reckon=1", "'reckon' is no term of this loss; expected {}; did you mean 'recon'?"),
        ("waveform=1,kl=2", "'waveform' is no term of this loss; expected {}"),
        ("stft,kl=1", "'stft' needs a share above 0, got ''"),
        ("stft=some,kl=0", "'stft' needs a share above 0, got 'some'\n'kl' needs a share above 0, got '0'"),
        ("stft=nan,kl=inf", "'stft' needs a share above 0, got 'nan'\n'kl' needs a share above 0, got 'inf'"),
        ("recon=1,reconstruction=2", "'reconstruction' is given twice"),
        ("kl=1", "shares need two terms or more"),
        ("stft=1,kl=1", "'stft' has no weight at the end of a training run, whatever loss.stft.weight is"),
        ("", "'' is no term of this loss; expected {}"),
    ],
)
def test_a_target_that_is_wrong(refused, trained, target, problem):
    """One message lists every fault of the target before anything is measured."""
    fades = ("--set", "loss.stft.schedule=[[0, 1], [1, 0]]") if "whatever" in problem else ()
    message = refused("--run", trained.folder, "--target", target, *fades)
    assert message == (
        f"--target: {problem.format('stft, reconstruction or recon, kl')}\n"
        "Only their ratios count. For example: --target stft=1,recon=1,kl=1\n"
    )


def test_the_model_of_a_run_is_measured_as_it_is(refused, trained):
    """A changed model is refused with one message, as the run has not trained it."""
    words = ("--set", "model.width=8", "--set", "representation.floor=1e-5", "--set", "training.seed=3")
    assert refused("--run", trained.folder, *words) == (
        f"{trained.folder}: the model of a run is measured as it was trained, and this differs: "
        "model.width, representation.floor\n"
        "Leave it out, or leave out --run.\n"
    )


def test_a_run_that_is_not_there(refused):
    """A missing run is refused with the message of every other command."""
    assert refused("--run", "gone") == (
        "gone: there is no such run folder\nPass the folder that `distill train --out` wrote.\n"
    )
