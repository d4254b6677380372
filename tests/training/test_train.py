"""Tests of distill.training.train: what the command line does, done from Python."""

import asyncio
import os
import shutil
import signal
import threading
import tomllib

import pytest
import torch
from torch import nn

import distill
from distill import Interrupted, Observer, TermConfig, TermSpec
from distill.errors import InputError, LockError, RunError
from distill.storage.checkpoints import checkpoint_paths
from distill.storage.run import Run


class Watcher(Observer):
    """Keeps what it is told, and lets a test see each record as it comes."""

    def __init__(self, on_record=lambda _: None):
        self.told, self.on_record = [], on_record

    def summary(self, summary):
        """Keep it."""
        self.told.append(("summary", summary))

    def record(self, record):
        """Keep it."""
        self.told.append((f"{record.split} {record.step}", record))
        self.on_record(record)

    def done(self, outcome):
        """Keep it."""
        self.told.append(("done", outcome))

    @property
    def order(self):
        """What it was told, by name."""
        return [name for name, _ in self.told]

    def last(self):
        """What it was told last."""
        return self.told[-1][1]


class Quiet(nn.Module):
    """A term of a notebook: the mean square of the posterior's means."""

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Compute it."""
        return inputs.posterior.mu.square().mean()


SPEC = TermSpec(name="quiet", config=TermConfig, build=Quiet, summary="quiet latents")


@pytest.fixture
def command(distill):
    """Return the command line, whose fixture has the name of the package."""
    return distill


@pytest.fixture(scope="module")
def train(tiny_options):
    """Train as `distill.train` does, with the tiny recipe."""

    def train(*corpus, options=(), **words):
        given = {} if "recipe" in words or words.get("resume") else tiny_options
        return distill.train(*corpus, options=given | dict(options), **words)

    return train


@pytest.fixture(scope="module")
def first(train, arrays, tmp_path_factory):
    """Train two steps on arrays with a term of a notebook: the run, and what was observed."""
    watcher = Watcher()
    out = tmp_path_factory.mktemp("runs") / "first"
    options = {"training.evaluations": 2}
    run = train(
        arrays, loss=["recon", "kl", SPEC], steps=2, out=out, seed=3, options=options, observer=watcher
    )
    return run, watcher


def read(run):
    """Read the recipe of a run as any program would."""
    return tomllib.loads((run.folder / "recipe.toml").read_text())


def test_a_run_is_returned_and_nothing_is_printed(train, recordings, tmp_path, capfd):
    """Its folder holds what that of the command line does; options may leave out `loss.`."""
    out = tmp_path / "run"
    run = train(str(recordings), loss="stft,recon", steps=1, out=str(out), options={"stft.weight": 2.0})
    assert run == Run(out)
    assert {path.name for path in out.iterdir()} == {
        *("recipe.toml", "metrics.jsonl", "checkpoints", "model.safetensors", "latents.safetensors"),
        *("tensorboard", "baselines.safetensors", "split.json", "outcome.json"),
    }
    recipe = read(run)
    assert recipe["loss"]["stft"]["weight"] == 2.0
    assert (recipe["corpus"]["path"], recipe["training"]["steps"]) == (str(recordings), 1)
    assert capfd.readouterr() == ("", "")


def test_an_observer_is_told_what_happens(first):
    """What is to be trained, every record, and how it ended, in this order; as values."""
    run, watcher = first
    assert watcher.order == ["summary", "train 1", "heldout 1", "train 2", "heldout 2", "done"]
    summary, outcome = watcher.told[0][1], watcher.last()
    assert [(term.name, term.last_weight) for term in summary.terms] == [
        ("reconstruction", 0.1),
        ("kl", 0.01),
        ("quiet", 1.0),
    ]
    assert (summary.train.recordings, summary.heldout.recordings, summary.skipped) == (2, 1, ())
    assert summary.train.seconds + summary.heldout.seconds == pytest.approx(0.9)
    assert (summary.latents_per_second, summary.device, summary.precision) == (250, "cpu", "float32")
    assert (outcome.run, outcome.step, outcome.interrupted, outcome.was_finished) == (run, 2, False, False)
    assert (outcome.retention, outcome.pairs) == (None, ())


def test_arrays_are_a_corpus(first):
    """The recipe says so, and the run knows which of them it held out."""
    run, _ = first
    assert read(run)["corpus"]["path"] == "<arrays>"
    model = distill.load(run)
    assert {*model.latents} < {"mono", "slow", "stereo"}
    assert len(model.latents) == 2


def test_a_run_of_arrays_needs_them_to_go_on(first):
    """The message names the missing arrays and the call that gives them again."""
    run, _ = first
    names = [*distill.load(run).latents]
    (held_out,) = {"mono", "slow", "stereo"} - {*names}
    with pytest.raises(RunError) as caught:
        distill.train(loss=["recon", "kl", SPEC], resume=True, out=run.folder)
    assert str(caught.value) == (
        f"{run.folder}: its corpus was given as arrays, in Python, and is missing: "
        f"{', '.join([*names, held_out])}\n"
        "Pass them again, in Python: distill.train([(name, waveform, sample_rate), ...], resume=True, "
        "out=...)"
    )


def test_a_term_of_a_notebook_is_named_when_it_is_missing(first, command):
    """The recipe names the term's origin; resuming without it ends in one message, status 2."""
    run, _ = first
    assert read(run)["provenance"]["quiet"] == f"python:{Quiet.__module__}"
    result = command("train", "--resume", "--out", run.folder)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: recipe: it needs loss terms that were given in Python: 'quiet' of {Quiet.__module__}\n"
        "Pass each TermSpec again, in Python: distill.train(loss=[...], resume=True, out=...)\n"
    )


def test_a_run_of_arrays_and_a_notebook_s_term_goes_on(first, train, arrays):
    """A run that is given its arrays and term again goes on with the same held-out recordings."""
    run, _ = first
    before = (run.folder / "split.json").read_text()
    watcher = Watcher()
    words = {"loss": ["recon", "kl", SPEC], "resume": True, "observer": watcher}
    assert train(arrays, steps=3, out=run.folder, **words) == run
    assert watcher.order == ["summary", "train 3", "done"]
    assert (watcher.last().resumed_at, watcher.last().step) == (2, 3)
    assert (run.folder / "split.json").read_text() == before
    again = Watcher()
    train(arrays, out=run.folder, **words | {"observer": again})
    assert again.last().was_finished


def test_a_recipe_may_be_data_or_a_file(first, train, arrays, tmp_path):
    """Arguments beside the recipe override it, as on the command line."""
    run, _ = first
    loss = ["recon", "kl", SPEC]
    for number, recipe in enumerate((read(run), run.folder / "recipe.toml")):
        made = read(train(arrays, recipe=recipe, loss=loss, steps=1, out=tmp_path / str(number)))
        assert (made["training"]["seed"], made["training"]["steps"]) == (3, 1)
        assert made["loss"] == read(run)["loss"]


def test_a_recipe_object_is_taken_where_a_corpus_stands(recordings, tiny_tree, tmp_path):
    """A recipe given as the corpus brings its corpus, its terms and its options."""
    tree = tiny_tree | {"corpus": {"path": str(recordings)}, "loss": {"recon": {}, "kl": {"free_bits": 0.5}}}
    tree["training"] = tree["training"] | {"steps": 1, "pairs": 0}
    first = distill.train(recipe=tree, out=tmp_path / "first")
    recipe = distill.load(first).recipe
    second = distill.train(recipe, out=tmp_path / "second")
    assert read(second) == read(first)
    with pytest.raises(InputError) as caught:
        distill.train(recipe, recipe=tree, out=tmp_path / "third")
    assert str(caught.value) == "a recipe is given twice, as the corpus and as the recipe"


def test_two_runs_of_one_process_may_differ_in_precision(train, arrays, tmp_path):
    """Accelerate keeps its first choice; each run has its own all the same."""
    for precision in ("float32", "bfloat16", "float32"):
        watcher = Watcher()
        options = {"training.precision": precision}
        train(arrays, loss="recon", steps=1, out=tmp_path / str(len([*tmp_path.iterdir()])), options=options,
              observer=watcher)  # fmt: skip
        assert watcher.told[0][1].precision == precision


def in_thread(work):
    """Do work in another thread, within a running event loop as a notebook has; pass on what it raises."""
    results = []

    async def cell():
        results.append(work())

    def run():
        try:
            asyncio.run(cell())
        except BaseException as error:  # noqa: BLE001  # raised below
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def test_another_thread_trains_and_sets_no_signal_handler(train, arrays, tmp_path):
    """Python lets the main thread alone do so; training is no different for that."""
    handlers = []
    watcher = Watcher(lambda _: handlers.append(signal.getsignal(signal.SIGTERM)))
    before = signal.getsignal(signal.SIGTERM)
    run = in_thread(lambda: train(arrays, loss="recon,kl", steps=2, out=tmp_path / "run", observer=watcher))
    assert {*handlers} == {before}
    assert watcher.order[-1] == "done"
    assert len(distill.load(run).generate(1)) == 1


def test_an_interrupt_saves_and_is_raised(train, arrays, tmp_path):
    """Ctrl-C is a KeyboardInterrupt as always; what it carries says how to go on, and the observer knows."""
    watcher = Watcher(lambda record: record.step == 1 and os.kill(os.getpid(), signal.SIGINT))
    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(arrays, loss="recon,kl", steps=9, out=out, observer=watcher)
    assert isinstance(caught.value, Interrupted)
    assert (caught.value.run, caught.value.step) == (Run(out), 2)
    assert str(caught.value) == (
        f"interrupted at step 2, and saved. Go on with distill.train(..., resume=True, out='{out}')"
    )
    assert list(checkpoint_paths(out / "checkpoints")) == [2]
    assert watcher.last().interrupted
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", [ValueError("enough"), KeyboardInterrupt()])
def test_what_an_observer_raises_ends_the_run_and_loses_no_step(train, arrays, tmp_path, error):
    """It is raised as it is, in any thread, and the run goes on with what was due at that step."""

    def stop(record):
        if record.step == 2:
            raise error

    out = tmp_path / "run"
    words = {"loss": "recon,kl", "options": {"training.evaluations": 2}}
    with pytest.raises(type(error)) as caught:
        in_thread(lambda: train(arrays, steps=3, out=out, observer=Watcher(stop), **words))
    assert caught.value is error
    watcher = Watcher()
    train(arrays, resume=True, out=out, observer=watcher)
    assert watcher.order[:3] == ["summary", "heldout 2", "train 3"]


def test_progress_is_told_before_and_after(train, recordings, tmp_path):
    """Progress is reported while recordings are decoded, calibrated on and encoded."""
    told = []
    train(recordings, loss="recon", steps=1, out=tmp_path / "run", on_progress=told.append)
    assert [(each.stage, each.done, each.total) for each in told] == [
        *(("decoding", done, 5) for done in range(1, 6)),
        *(("calibrating", done, 2) for done in range(2)),
        *(("finishing", done, 4) for done in range(5)),
    ]


def test_two_runs_at_once_have_folders_of_their_own(train, recordings, arrays, tmp_path):
    """A second run in one folder is refused even before the first has written anything."""
    errors = []

    def meanwhile(_):
        if errors:
            return
        with pytest.raises(RunError) as caught:
            train(arrays, loss="recon", steps=1, out=tmp_path / "below" / ".." / "run")
        errors.append(str(caught.value))

    run = train(recordings, loss="recon", steps=1, out=tmp_path / "run", on_progress=meanwhile)
    (error,) = errors
    assert error == (
        f"{tmp_path}/below/../run: another thread of this process is training in it\n"
        "Wait until it has ended, or choose another folder with --out."
    )
    assert run.model.is_file()


def test_a_run_that_another_process_took_over_is_written_no_more(train, arrays, tmp_path):
    """A process that lost its run writes no further record and no checkpoint there."""
    run = Run(tmp_path / "run")

    def take_over(record):
        if record.step == 2:
            (tmp_path / "lock").write_text("1\nnode7\n")
            (tmp_path / "lock").replace(run.folder / ".lock")

    with pytest.raises(LockError) as caught:
        train(arrays, loss="recon", steps=50, out=run.folder, observer=Watcher(take_over))
    assert str(caught.value) == (
        f"{run.folder}: another process has taken it over, since this one showed no sign of life\n"
        "Nothing more is written to it here. Let the other process go on."
    )
    assert {record["step"] for record in run.read_metrics()} == {1, 2}
    assert not run.model.exists()
    assert not checkpoint_paths(run.checkpoints)
    assert (run.folder / ".lock").read_text() == "1\nnode7\n"


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_gradients_that_are_switched_off_are_switched_on(train, arrays, tmp_path, switch):
    """Training works where the caller has switched gradients off."""
    with switch():
        run = train(arrays, loss="recon", steps=1, out=tmp_path / "run")
    assert run.model.is_file()


def test_a_recipe_of_a_missing_term_says_so(first):
    """One read without the term has plain data; the term may be given again."""
    recipe = distill.load(first[0]).recipe
    with pytest.raises(RunError) as caught:
        distill.train(recipe=recipe, steps=1)
    assert str(caught.value) == (
        f"recipe: it needs loss terms that were given in Python: 'quiet' of {__name__}\n"
        "Pass each TermSpec again, in Python: distill.train(loss=[...], resume=True, out=...)"
    )


def test_a_split_that_is_damaged_names_no_arrays(first, tmp_path):
    """The message is the same without them."""
    run = Run(shutil.copytree(first[0].folder, tmp_path / "run"))
    run.split.write_text("{")
    with pytest.raises(RunError) as caught:
        distill.train(loss=["recon", "kl", SPEC], resume=True, out=run.folder)
    assert str(caught.value).startswith(
        f"{run.folder}: its corpus was given as arrays, in Python, and is missing\nPass them again"
    )
