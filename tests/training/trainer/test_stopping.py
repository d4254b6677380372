"""Tests of distill.training.trainer: what stops a training, what it saves, and how it goes on."""

import itertools
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attrs import evolve
from hanging import hang
from torch import nn

from distill.audio.corpus import open_shards
from distill.errors import RunError, TermError, TrainingError
from distill.storage.checkpoints import checkpoint_paths, load_checkpoint, load_latest, load_state
from distill.training.interruption import Interrupted
from distill.training.trainer import Trainer
from distill.views import LogMagnitude


def assert_same(one, other):
    """Compare two states bit by bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class Breaking(nn.Module):
    """A term that is 0, and `value` in the third of eight steps in training, with a sound gradient."""

    value = float("nan")

    def __init__(self, _):
        super().__init__()

    def is_third(self, inputs):
        """Tell the third of eight steps by the progress, so that it can be repeated."""
        return inputs.progress == 2 / 8 and torch.is_grad_enabled()

    def forward(self, inputs):
        """Break."""
        return 0 * inputs.view(LogMagnitude())[0].mean() + (self.value if self.is_third(inputs) else 0.0)


class Infinite(Breaking):
    """The same with an infinity."""

    value = float("inf")


class Weighty(Breaking):
    """The same under a name that begins as those of the logged weights do."""


class Steep(Breaking):
    """The same with a value of 0 whose gradient is no number: that of a root at 0."""

    def forward(self, inputs):
        """Break."""
        nothing = 0 * inputs.view(LogMagnitude())[0].mean()
        return nothing.sqrt() if self.is_third(inputs) else nothing


def interrupt_at(step, number=signal.SIGINT):
    """Send this process a signal when a step is reported."""

    def on_record(record):
        if record.step == step and record.split == "train":
            os.kill(os.getpid(), number)

    return on_record


@pytest.mark.parametrize(("number", "evaluations"), [(signal.SIGINT, 4), (signal.SIGTERM, 8)])
def test_a_resumed_training_equals_one_that_was_never_stopped(make, number, evaluations):
    """Model, optimizer, metrics and schedules are those of a straight run, bit by bit.

    A held-out evaluation that is due when the run is stopped would take long, and is made when it goes on.
    """
    straight = make(steps=8, folder="straight", evaluations=evaluations)
    straight.train()
    handler = signal.getsignal(number)
    stopped = make(steps=8, evaluations=evaluations, on_record=interrupt_at(4, number))
    with pytest.raises(Interrupted):
        stopped.train()
    assert signal.getsignal(number) is handler
    checkpoint = load_latest(stopped.run.checkpoints)
    assert checkpoint.step == stopped.step == 5  # the step that was under way is finished
    assert len(stopped.recorded("heldout")) == evaluations // 2
    resumed = make(steps=8, evaluations=evaluations)
    resumed.train(checkpoint.state)
    assert resumed.step == 8
    assert_same(resumed.model_state(), straight.model_state())
    assert_same(load_state(resumed.run.model), straight.model_state())
    for split in ("train", "heldout"):
        assert stopped.recorded(split) + resumed.recorded(split) == straight.recorded(split)
    assert resumed.heldout.totals == straight.heldout.totals
    states = [each.optimization.optimizer.state_dict()["state"] for each in (resumed, straight)]
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert_same(one, other)


def test_totals_of_other_weights_are_forgotten(make):
    """What was measured held out is compared only with what the same weights give."""
    stopped = make(steps=4, evaluations=2)
    stopped.train()
    assert len(stopped.heldout.totals) == 2
    state = load_latest(stopped.run.checkpoints).state
    heavier = make(steps=6, evaluations=2)
    heavier.loss.config = evolve(heavier.loss.config, kl=evolve(heavier.loss.config.kl, weight_max=2.0))
    for resumed, totals in ((make(steps=6, evaluations=2), stopped.heldout.totals), (heavier, [])):
        resumed._restore(state)  # noqa: SLF001  # without the training that follows
        assert resumed.heldout.totals == totals


def test_a_resumed_training_goes_on_in_the_middle_of_a_shard(make, shards):
    """A training on a stream, too, equals one that was never stopped, bit by bit."""

    def trainer(folder, **options):
        corpus = open_shards(str(shards), sample_rate=8000, pool_shards=2)
        return make(steps=8, folder=folder, corpus=corpus, **options)

    straight, stopped = trainer("straight"), trainer("run", on_record=interrupt_at(4))
    straight.train()
    with pytest.raises(Interrupted):
        stopped.train()
    state = load_latest(stopped.run.checkpoints).state
    # Ten clips of 0.2 s to a shard of 2 s.
    assert state["corpus"] == {"drawn": 5 * 2, "position": 1, "processes": 1}
    resumed = trainer("run")
    resumed.train(state)
    assert_same(resumed.model_state(), straight.model_state())
    assert stopped.recorded() + resumed.recorded() == straight.recorded()


@pytest.mark.parametrize(("seconds", "raised"), [(0.9, Interrupted), (1.1, KeyboardInterrupt)])
def test_a_second_signal_ends_the_process_as_usual(make, monkeypatch, seconds, raised):
    """A second signal ends the process, unless a launcher and a cluster send the same one."""
    now, ticks = 1000.0, itertools.count()
    clock = SimpleNamespace(monotonic=lambda: now + 1e-6 * next(ticks))
    monkeypatch.setattr("distill.training.interruption.time", clock)

    def on_record(record):
        nonlocal now
        if record.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            now += seconds
            os.kill(os.getpid(), signal.SIGINT)

    # What is usual is for the test to say: a shell's background jobs are born deaf to SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(raised):
            make(steps=8, evaluations=1, on_record=on_record).train()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_state_of_another_model_is_refused(make):
    """The message names the run and says that its recipe does not describe the checkpoint."""
    trainer = make(steps=1)
    trainer.train()
    state = load_latest(trainer.run.checkpoints).state
    with pytest.raises(RunError) as caught:
        make(steps=2, model={"width": 8}).train(state)
    assert str(caught.value) == (
        f"{trainer.run.folder}: its checkpoint is of another model, or of another loss, than its recipe "
        "describes\n"
        "Restore recipe.toml as the training wrote it."
    )


@pytest.mark.parametrize("part", ["optimizer", "clips", "window"])
def test_a_state_that_lacks_something_is_refused(make, part):
    """The message names the run, the step and the remedy, before a step is trained."""
    trainer = make(steps=1)
    trainer.train()
    state = load_latest(trainer.run.checkpoints).state
    for moments in state["optimizer"]["state"].values():
        moments["exp_avg_sr"] = moments.pop("exp_avg_sq") if part == "optimizer" else moments["exp_avg_sq"]
    changed = {"optimizer": state["optimizer"], "clips": torch.zeros(3), "window": {"first": 1}}
    with pytest.raises(RunError) as caught:
        make(steps=2).train(state | {part: changed[part]})
    assert str(caught.value) == (
        f"{trainer.run.folder}: its checkpoint of step 1 does not hold the whole state of a training run\n"
        "Restore it from a copy, or train again."
    )


@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize(
    ("term", "expected", "cause"),
    [
        (Breaking, "breaking (breaking-losses 1) is nan", "is nan"),
        (Infinite, "infinite (infinite-losses 1) is inf", "is inf"),
        (Weighty, "weighty (weighty-losses 1) is nan", "is nan"),
        (Steep, "gradient_norm is nan", "has a gradient that is not finite"),
    ],
)
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(make, term, expected, cause, log_every):
    """The error names step, component, files and cause; what was before that step is saved, as if stopped."""
    good = make(term, steps=8, folder="good", on_record=interrupt_at(1), log_every=1)
    with pytest.raises(Interrupted):
        good.train()
    assert good.step == 2
    trainer = make(term, steps=8, log_every=log_every)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    name = term.__name__.lower()
    out = f"--out {trainer.run.folder}"
    assert str(caught.value) == (
        f"step 3: the loss is not finite: {expected}\n"
        "Its clips are of a.wav, below/a.wav.\n"
        f"The term {name} ({name}-losses 1) {cause}.\n"
        "Mend or leave out the term, or skip such steps: --set training.nonfinite=skip\n"
        f"The state before that step is saved. distill train --resume {out} goes on from there, with such a "
        f"change.\ndistill train --repeat-batch {out} computes the step again, and shows each term."
    )
    assert caught.value.exit_status == 1
    assert_same(trainer.model_state(), good.model_state())
    saved, expected_state = (load_latest(each.run.checkpoints) for each in (trainer, good))
    assert saved.step == expected_state.step == 2
    for name in ("clips", "noise"):
        assert torch.equal(saved.state[name], expected_state.state[name])
    assert_same(saved.state["model"], good.model_state())
    assert_same(load_state(trainer.run.model), good.model_state())
    assert {float(state["step"]) for state in trainer.optimization.optimizer.state.values()} == {2.0}


def test_a_broken_training_can_go_on(make):
    """A training that broke is resumed from what it saved."""
    with pytest.raises(TrainingError):
        make(Breaking, steps=8).train()
    resumed = make(Breaking, steps=5)  # in which no step has the progress at which the term breaks
    resumed.train(load_latest(resumed.run.checkpoints).state)
    assert resumed.step == 5


class Raising(nn.Module):
    """A term that raises an error in its third step in training, and is 0 otherwise."""

    steps, error = 0, OSError("of the author")

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Count the steps of all terms of this class."""
        Raising.steps += torch.is_grad_enabled()
        if Raising.steps == 3:
            raise self.error
        return 0 * inputs.view(LogMagnitude())[0].mean()


class Interrupting(Raising):
    """The same with the exception of Ctrl-C, which was not pressed."""

    error = KeyboardInterrupt("of the author")


@pytest.mark.parametrize("term", [Raising, Interrupting])
def test_a_term_that_raises_loses_no_step(make, term):
    """The state before its step is saved, generators included: a resumed run equals a straight one."""
    Raising.steps = 5
    straight = make(term, steps=5, folder="straight")
    straight.train()
    Raising.steps = 0
    trainer = make(term, steps=5)
    with pytest.raises(TermError, match=f"the term raised {type(term.error).__name__}: of the author"):
        trainer.train()
    checkpoint = load_latest(trainer.run.checkpoints)
    assert checkpoint.step == 2
    resumed = make(term, steps=5)
    resumed.train(checkpoint.state)
    assert_same(resumed.model_state(), straight.model_state())
    assert trainer.recorded() + resumed.recorded() == straight.recorded()


class _Backward(torch.autograd.Function):
    """The number itself, whose gradient is computed by a function."""

    @staticmethod
    def forward(context, value, function):
        context.function = function
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        context.function()
        return gradient, None


class Once(nn.Module):
    """A term that is 0, and does what a test says in its first backward pass."""

    does = None

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Do it in the backward pass."""
        return _Backward.apply(0 * inputs.view(LogMagnitude())[0].mean(), self.do)

    def do(self):
        """Do it once."""
        does, Once.does = Once.does, None
        if does is not None:
            does()


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), KeyboardInterrupt()])
def test_what_would_end_the_process_is_an_error(make, error):
    """An exit that is raised once in a backward pass, and so by no term when it is looked at, is told of."""

    def fail():
        raise error

    Once.does = fail
    trainer = make(Once, steps=2)
    with pytest.raises(TermError) as caught:
        trainer.train()
    said = f"step 1: code of a term or a balancer: {type(error).__name__}"
    assert str(caught.value).startswith(said)
    assert "test_stopping.py:" in str(caught.value)
    assert load_latest(trainer.run.checkpoints).step == 0


def test_a_ctrl_c_in_a_backward_pass_is_one(make):
    """A signal that comes while a term is differentiated stops the run after its step."""
    Once.does = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        make(Once, steps=2).train()
    assert caught.value.step == 1


def test_what_a_backward_pass_changes_of_the_process_is_restored(make, monkeypatch, tmp_path):
    """A term that changes the working folder while it is differentiated moves no file of the run."""
    monkeypatch.chdir(tmp_path)
    Once.does = lambda: os.chdir("/")
    make(Once, steps=1).train()
    assert Path.cwd() == tmp_path


def test_a_second_signal_in_a_step_leaves_no_handler(make, monkeypatch):
    """It ends the training at once, and the next Ctrl-C of a notebook is handled as before the training."""
    now = itertools.count(1000, 2)  # each look at the clock is two seconds later
    monkeypatch.setattr("distill.training.interruption.time", SimpleNamespace(monotonic=lambda: next(now)))

    def interrupt_twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    Once.does = interrupt_twice
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            make(Once, steps=2).train()
        assert caught.type is KeyboardInterrupt
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


class Hanging(nn.Module):
    """A term that hangs in its third call, and is 0 otherwise."""

    calls = 0

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Count the calls of all terms of this class."""
        Hanging.calls += 1
        if Hanging.calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            hang()
        return 0 * inputs.view(LogMagnitude())[0].mean()


@pytest.mark.parametrize("evaluations", [1, 5])
def test_a_step_that_hangs_is_cut_short(make, monkeypatch, evaluations):
    """A step or measurement that hangs is cut short, and a resumed run equals a straight one."""
    monkeypatch.setattr("distill.training.interruption._SECONDS_FOR_A_STEP", 0.05)
    Hanging.calls = 5
    straight = make(Hanging, steps=5, folder="straight", evaluations=evaluations)
    straight.train()
    Hanging.calls = 0 if evaluations == 1 else -1
    trainer = make(Hanging, steps=5, evaluations=evaluations)
    with pytest.raises(Interrupted) as caught:
        trainer.train()
    assert caught.value.step == 2
    resumed = make(Hanging, steps=5, evaluations=evaluations)
    resumed.train(load_latest(resumed.run.checkpoints).state)
    assert_same(resumed.model_state(), straight.model_state())
    for split in ("train", "heldout"):
        assert trainer.recorded(split) + resumed.recorded(split) == straight.recorded(split)


def test_an_error_is_told_where_the_state_cannot_be_saved(make):
    """The first error counts, and says that nothing could be saved."""

    def on_record(record):
        if record.step == 2:
            trainer.run.checkpoints.rmdir()
            trainer.run.checkpoints.touch()
            raise RunError("the disk is full", culprit="metrics", remedy="Make room.")

    trainer = make(steps=5, on_record=on_record)
    trainer.run.checkpoints.mkdir(parents=True)
    with pytest.raises(RunError) as caught:
        trainer.train()
    assert str(caught.value) == (
        "metrics: the disk is full\nMake room.\n"
        "The state of step 2 could not be saved either: cannot be written: File exists."
    )


def test_checkpoints_are_taken_in_between(make):
    """With next to no time between them there is one after every step, and the newest stay, with the best."""
    for checkpoints, steps in ((3, (4, 5, 6)), (1, (6,))):
        trainer = make(
            steps=6, checkpoint_minutes=1e-9, checkpoints=checkpoints, folder=f"keep-{checkpoints}"
        )
        trainer.train()
        names = sorted(path.name for path in trainer.run.checkpoints.iterdir())
        assert names == ["best.safetensors", *(f"step-0000000{step}.safetensors" for step in steps)]
    rare = make(steps=6, folder="rare", checkpoint_minutes=10)
    rare.train()
    assert list(checkpoint_paths(rare.run.checkpoints)) == [6]


def test_the_best_checkpoint_is_that_of_the_lowest_held_out_loss(make, monkeypatch):
    """It stays while the loss rises, is resumed as any other, and a resumed run compares with it."""
    losses = [3.0, float("nan"), 2.0, 2.5, 1.9, 4.0]
    compute = Trainer._compute  # noqa: SLF001  # whose held-out total is replaced

    def measured(self, waveform):
        return compute(self, waveform) | {"total": torch.tensor(losses[self.evaluations])}

    monkeypatch.setattr(Trainer, "_compute", measured)
    trainer = make(steps=6, evaluations=6, on_record=interrupt_at(3))
    with pytest.raises(Interrupted):
        trainer.train()
    assert trainer.heldout.best == (2.0, 3)
    resumed = make(steps=6, evaluations=6)
    resumed.train(load_latest(trainer.run.checkpoints).state)
    best = load_checkpoint(resumed.run.checkpoints, "best")
    assert (best.step, best.state["best"]) == (5, (pytest.approx(1.9), 5))
    assert [(each["split"], each["step"]) for each in best.state["records"]][-1] == ("heldout", 5)
    assert not best.state["evaluation_due"]
    again = make(steps=6, evaluations=6, folder="again")
    monkeypatch.setattr(Trainer, "_compute", compute)
    again.train(best.state)
    assert_same(again.model_state(), resumed.model_state())
