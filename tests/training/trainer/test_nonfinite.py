"""Tests of distill.training.trainer: steps that are not finite, and errors of terms, in whole trainings."""

import json
import math

import pytest
import torch
from torch import nn

from distill.audio.corpus import open_arrays
from distill.errors import TermError, TrainingError
from distill.storage.checkpoints import load_latest, load_state
from distill.views import LogMagnitude


class Faulty(nn.Module):
    """A term that is 0 and breaks, in training, in the steps of eight that `breaks` says."""

    steps = (2,)

    def __init__(self, _):
        super().__init__()
        self.register_buffer("heard", torch.zeros(()))

    def forward(self, inputs):
        """Break, and leave a trace in a buffer."""
        value = 0 * inputs.view(LogMagnitude())[0].mean()
        if torch.is_grad_enabled():
            self.heard += 1
            if round(8 * inputs.progress) in self.steps:
                self.heard += math.nan
                return self.broken(value)
        return value

    def broken(self, value):
        """Return no number."""
        return value + math.nan


class Often(Faulty):
    """The same in three steps in a row."""

    steps = (2, 3, 4)


class Raising(Faulty):
    """The same with an error."""

    def broken(self, _):
        """Raise it."""
        raise ValueError("no bands")


class Leaving(Faulty):
    """The same by ending the process as if all were well."""

    def broken(self, _):
        """Leave."""
        raise SystemExit(0)


class BackwardFault(torch.autograd.Function):
    """An operation that raises an error in its backward pass."""

    @staticmethod
    def forward(_, value):
        """Copy."""
        return value.clone()

    @staticmethod
    def backward(*_):
        """Raise."""
        raise RuntimeError("no way back")


class Backward(Faulty):
    """The same with an error in the backward pass, where no term is called."""

    def broken(self, value):
        """Return what cannot be differentiated."""
        return BackwardFault.apply(value)


class BackwardExit(BackwardFault):
    """The same by ending the process as if all were well."""

    @staticmethod
    def backward(*_):
        """Leave."""
        raise SystemExit(0)


class BackwardLeaving(Faulty):
    """The same in the backward pass."""

    def broken(self, value):
        """Return what cannot be differentiated."""
        return BackwardExit.apply(value)


def how_to_go_on(trainer):
    """Return the last lines of a message after which a run goes on from the state before the step."""
    out = f"--out {trainer.run.folder}"
    saved = f"The state before that step is saved. distill train --resume {out} goes on from there"
    repeat = f"distill train --repeat-batch {out} computes the step again, and shows each term."
    return {f"{saved}, with such a change.", repeat}


@pytest.mark.parametrize("log_every", [1, 3, 8])
def test_a_step_is_skipped(make, log_every):
    """The optimizer and the buffers of terms stand still in that step alone; the mean leaves it out."""
    trainer = make(Faulty, steps=8, log_every=log_every, nonfinite="skip")
    trainer.train()
    assert {float(state["step"]) for state in trainer.optimization.optimizer.state.values()} == {7.0}
    assert float(trainer.loss.terms["faulty"].heard) == 7
    (warning,) = [each for each in trainer.warnings if "skipped" in each]
    assert warning == (
        "Step 3 is skipped: the loss is not finite: faulty (faulty-losses 1) is nan. Its clips are of a.wav, "
        "below/a.wav.\n"
        f"distill train --repeat-batch --out {trainer.run.folder} computes it again, and shows each term."
    )
    totals = [math.isnan(components["total"]) for _, components in trainer.recorded()]
    assert totals == [log_every == 1 and step == 2 for step in range(len(totals))]
    assert load_state(trainer.run.batch)["step"] == 3


def test_too_many_steps_in_a_row_stop(make):
    """The state before the last bad step is saved, with the weights from before the first of them."""
    trainer = make(Often, steps=8, log_every=8, nonfinite="skip", max_skipped=2)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert str(caught.value).startswith(
        "step 5: the loss is not finite: often (often-losses 1) is nan, in 3 steps in a row\n"
    )
    assert load_latest(trainer.run.checkpoints).step == 4
    assert {float(state["step"]) for state in trainer.optimization.optimizer.state.values()} == {2.0}
    assert make(Often, steps=8, folder="other", nonfinite="skip", max_skipped=3).train() is None


def test_weights_that_are_not_finite_are_not_saved(make):
    """Weights that are not finite are not saved, even after the last step; earlier ones stay."""
    trainer = make(steps=4)
    trainer.train()
    before = {path: path.read_bytes() for path in trainer.run.folder.rglob("*.safetensors")}
    resumed = make(steps=5)
    step = resumed.optimization.step

    def wild(*arguments):
        step(*arguments)
        with torch.no_grad():
            resumed.vae.patch_out.weight[0] = math.inf

    resumed.optimization.step = wild
    with pytest.raises(TrainingError) as caught:
        resumed.train(load_latest(trainer.run.checkpoints).state)
    resume = f"distill train --resume --out {trainer.run.folder}"
    assert str(caught.value) == (
        "step 5: weights are not finite after this step: patch_out.weight\n"
        "Lower training.learning_rate, 0.001 here, or training.weight_decay, 0.01 here.\n"
        f"Nothing is written over the checkpoint of step 4. {resume} goes on from there, with such a change."
    )
    assert caught.value.exit_status == 1
    assert {path: path.read_bytes() for path in trainer.run.folder.rglob("*.safetensors")} == before


def test_a_model_that_has_diverged_is_not_saved_over_a_sounder_one(make):
    """Its weights are finite, and its output is not: that is the cause, not the terms that see it."""
    trainer = make(steps=4)
    trainer.train()
    resumed = make(steps=6)
    state = load_latest(trainer.run.checkpoints).state
    for weight in state["model"].values():
        if weight.is_floating_point():
            weight.mul_(1e6)
    with pytest.raises(TrainingError) as caught:
        resumed.train(state)
    problem, clips, *rest = str(caught.value).split("\n")
    assert problem.startswith("step 5: the loss is not finite: ")
    assert "; the model has diverged, its output " in problem
    assert clips.startswith("Its clips are of ")
    out = f"--out {trainer.run.folder}"
    there = (
        f"Nothing is written over the checkpoint of step 4. distill train --resume {out} goes on from there"
    )
    assert rest == [
        "Lower training.learning_rate, 0.001 here, and go on from before it diverged.",
        f"{there}, with such a change.",
        f"distill train --repeat-batch {out} computes the step again, and shows each term.",
    ]
    assert load_latest(trainer.run.checkpoints).step == 4


@pytest.mark.parametrize(
    ("term", "shown"),
    [
        (Raising, "ValueError: no bands"),
        (Leaving, "SystemExit: 0"),
        (Backward, "RuntimeError: no way back"),
        (BackwardLeaving, "SystemExit: 0"),
    ],
)
def test_an_error_of_a_term_is_named_and_what_was_trained_is_saved(make, term, shown):
    """An error of a term names its place; the state before the step and the batch are saved."""
    trainer = make(term, steps=8, log_every=8)
    with pytest.raises(TermError) as caught:
        trainer.train()
    name = term.__name__.lower()
    problem, files, *rest = str(caught.value).split("\n")
    assert problem.startswith(f"step 3: {name} ({name}-losses 1): the term raised {shown} (")
    assert "tests/training/trainer/test_nonfinite.py:" in problem
    assert files == "Its clips are of a.wav, below/a.wav."
    assert {*rest} == how_to_go_on(trainer)
    saved = load_latest(trainer.run.checkpoints)
    assert (saved.step, saved.state["window"]["steps"]) == (2, 2)
    assert shown in load_state(trainer.run.batch)["problem"]


class RaisingAtOnce(Raising):
    """The same in the first step."""

    steps = (0,)


def test_an_error_in_the_first_step_leaves_what_the_run_began_with(make):
    """Buffers that were initialized after the trainer was made are saved as they were before the step."""
    trainer = make(RaisingAtOnce, steps=8)
    trainer.loss.terms["raisingatonce"].heard.fill_(5)
    with pytest.raises(TermError):
        trainer.train()
    assert trainer.loss.terms["raisingatonce"].heard == 5
    saved = load_latest(trainer.run.checkpoints)
    assert (saved.step, *saved.state["loss"].values()) == (0, 5)


def test_an_error_in_the_first_step_of_a_resumed_run_leaves_what_it_was_resumed_from(make):
    """The checkpoint that is saved has the buffers of the one before."""
    for trainer in (make(Raising, steps=8), make(Raising, steps=8)):
        before = load_latest(trainer.run.checkpoints)
        with pytest.raises(TermError):
            trainer.train(before and before.state)
        saved = load_latest(trainer.run.checkpoints)
        assert (saved.step, *saved.state["loss"].values()) == (2, 2)


def samples_of(split, recording):
    """Return the samples of a recording in memory."""
    end = recording.offset + recording.samples * recording.channels
    return split._samples[recording.offset : end]  # noqa: SLF001  # to change them behind its back


def test_samples_that_are_not_finite_are_the_cause(make, arrays):
    """The message names the recording whose samples are not finite, not a term or the model."""
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.0)
    (mono,) = [each for each in corpus.train.recordings if each.name == "mono"]
    samples_of(corpus.train, mono)[:] = math.nan  # as a damaged disk does
    trainer = make(corpus=corpus, steps=8, log_every=8)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert ": recordings hold samples that are not finite\n" in str(caught.value)
    assert "\nLook at mono, or at the cache of the corpus: it is made anew if it is removed.\n" in str(
        caught.value
    )


def test_a_held_out_recording_without_a_finite_loss_is_named(make, arrays):
    """A recording without a finite loss is named and left out of the held-out loss."""
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.5)
    loud = corpus.heldout.recordings[0]
    samples_of(corpus.heldout, loud)[:] *= 1e30
    assert len(corpus.heldout.recordings) > 1
    trainer = make(corpus=corpus, steps=4, evaluations=4)
    trainer.train()
    (warning,) = [each for each in trainer.warnings if "held-out" in each]
    assert warning.startswith("The held-out loss is not finite, while the weights are: total is ")
    assert f"The cause is {loud.name}, with samples of up to " in warning
    assert len(trainer.heldout.totals) == 4
    assert all(math.isfinite(total) for total in trainer.heldout.totals)
    assert json.dumps([components for _, components in trainer.recorded("heldout")], allow_nan=False)
