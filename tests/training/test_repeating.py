"""Tests of distill.training.repeating: the step at which a run stopped is computed again."""

import math

import pytest
import torch
from torch import nn

import distill
from distill import TermConfig, TermSpec
from distill.errors import RunError, TermError, TrainingError
from distill.storage.checkpoints import load_state, save_state
from distill.views import LogMagnitude


class Unlucky(nn.Module):
    """A term that draws random numbers, and breaks in the third of eight steps."""

    raises = False

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Break."""
        prediction, target = inputs.view(LogMagnitude())
        value = (prediction - target).abs().mean() * torch.rand(())
        if inputs.progress == 2 / 8 and self.raises:
            raise ValueError("no luck")
        return {"luck": value, "fault": value * (math.inf if inputs.progress == 2 / 8 else 0.0)}


class Raising(Unlucky):
    """The same with an error."""

    raises = True


def spec(term):
    """Return the spec of a term."""
    return TermSpec(name="unlucky", config=TermConfig, build=term, summary="")


def broken(term, arrays, options, folder):
    """Train until the term breaks; return what the run's observer saw of that step, and the error."""
    seen = []

    class Watching(term):
        def forward(self, inputs):
            """Watch."""
            if inputs.progress == 2 / 8:
                seen.append(inputs.target.waveform.clone())
            return super().forward(inputs)

    with pytest.raises((TrainingError, TermError)) as caught:
        distill.train(arrays, loss=["recon", spec(Watching)], steps=8, out=folder, options=options)
    return seen[0], caught.value


@pytest.mark.parametrize("term", [Unlucky, Raising])
def test_a_step_is_computed_again(arrays, tiny_options, tmp_path, term):
    """A repeated step has the same clips and random numbers, and shows each term and its error."""
    waveform, error = broken(term, arrays, tiny_options, tmp_path / "run")
    state = torch.get_rng_state()
    repeated = distill.repeat_batch(tmp_path / "run", loss=[spec(term)])
    assert torch.equal(torch.get_rng_state(), state)
    assert (repeated.step, repeated.weights_of) == (3, 2)
    assert set(repeated.files) <= {"mono", "stereo", "slow"}
    assert f"Its clips are of {', '.join(repeated.files)}." in str(error)
    assert torch.equal(repeated.waveform, waveform)
    recon, unlucky = repeated.examination.terms
    assert (recon.name, recon.problem(), recon.weight) == ("reconstruction", "", 0.1)
    assert recon.gradient > 0
    assert not repeated.examination.has_diverged
    if term is Raising:
        assert unlucky.error.startswith("ValueError: no luck (tests/training/test_repeating.py:")
        assert unlucky.value is None
        assert repeated.components == {}
        with pytest.raises(TermError, match="no luck"):
            repeated.loss.unweighted("unlucky", repeated.inputs)
        return
    assert unlucky.problem() == "is inf"
    assert unlucky.parts["unlucky/fault"] == math.inf
    assert unlucky.parts["unlucky/luck"] == pytest.approx(repeated.components["unlucky/luck"])
    again = distill.repeat_batch(distill.Run(tmp_path / "run"), loss=[spec(term)], device="cpu")
    assert again.components == repeated.components


def test_what_cannot_be_repeated(arrays, tiny_options, tmp_path):
    """The message names a run that kept no batch, or a batch of another recipe, with the remedy."""
    run = distill.train(arrays, loss="recon", steps=1, out=tmp_path / "run", options=tiny_options)
    with pytest.raises(RunError) as caught:
        distill.repeat_batch(run)
    remedy = "Train on with --resume; the batch is kept when a step is not finite, or a term raises an error."
    assert str(caught.value) == f"{run.folder}: keeps no batch of a step\n{remedy}"
    save_state(run.batch, {"model": load_state(run.model), "loss": {}, "step": 1})
    with pytest.raises(RunError) as caught:
        distill.repeat_batch(run)
    assert str(caught.value) == f"{run.batch}: the kept batch is of another recipe, or damaged\n{remedy}"
