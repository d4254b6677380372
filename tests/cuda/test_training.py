"""Tests of training on CUDA: that no step waits for the device, and that it learns what the CPU learns."""

import json
import math

import pytest
import torch
from accelerate.state import AcceleratorState
from click.testing import CliRunner
from on_cuda import CUDA, refusing_to_wait
from torch import nn

import distill as api
from distill import TermConfig, TermSpec
from distill.audio.corpus import open_corpus
from distill.cli import main
from distill.errors import TrainingError
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.checkpoints import load_latest, load_state
from distill.training.trainer import Trainer
from distill.views import LogMagnitude

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class UnwaitingTrainer(Trainer):
    """A trainer whose steps, but for the first, fail if they wait for the device."""

    def _take_step(self):
        if not self.step:
            super()._take_step()
            return
        with refusing_to_wait():
            super()._take_step()


@pytest.fixture
def make(tiny_tree, recordings, tmp_path, assemble):
    """Make a trainer on CUDA with the tiny recipe, perhaps with a term that is not installed."""

    def make(folder, *, precision="bfloat16", balance="gradient", latents=250, term=None, **training):
        given = {"device": "cuda", "precision": precision, "log_every": 2, **training}
        tree = {**tiny_tree, "training": tiny_tree["training"] | given}
        tree["model"] = tree["model"] | {"latents_per_second": latents}
        draft = read_recipe(
            tree,
            Registry(discover=False),
            loss=["stft", "recon", "kl", "waveform", *([] if term is None else [term])],
            balance=balance,
        )
        corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
        return assemble(
            UnwaitingTrainer,
            draft,
            corpus,
            tmp_path / folder,
            report=make.records.append,
            warn=lambda _, message: make.warnings.append(message),
        )

    make.records, make.warnings = [], []
    return make


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("float32", {}),
        ("bfloat16", {}),
        # As from the base model: the encoder is kept, and the posterior has no gradient.
        ("bfloat16", {"latents": 10_000, "encoder_rate": 0.0, "balance": None}),
    ],
    ids=["float32", "bfloat16", "encoder kept"],
)
def test_a_step_does_not_wait_for_the_device(make, precision, options):
    """Six steps of a training; only records may take values to the host.

    After each evaluation, the next step measures the gradients of the terms.
    """
    trainer = make("run", precision=precision, steps=6, evaluations=4, **options)
    trainer.train()
    assert trainer.step == 6
    assert trainer.vae.device == CUDA
    assert all(torch.tensor(record.components["total"]).isfinite() for record in make.records)
    assert make.warnings == []


@pytest.mark.parametrize("options", [{}, {"encoder_rate": 0.0}], ids=["all", "encoder kept"])
def test_a_replayed_model_learns_the_same(make, options):
    """Weights after eight steps are those of a training without CUDA graphs, but for the order of sums."""
    shared = {"precision": "float32", "steps": 8, "gradient_every": 5, **options}
    one, other = (
        make(f"graphs-{graphs}", cuda_graphs=graphs, balance=None, **shared) for graphs in (True, False)
    )
    one.train()
    other.train()
    for (name, weight), another in zip(
        one.vae.state_dict().items(), other.vae.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(weight, another, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: at + text)
    records = make.records
    half = len(records) // 2
    for record, again in zip(records[:half], records[half:], strict=True):
        assert record.components == pytest.approx(again.components, rel=1e-3, abs=1e-5)


class Keeper(nn.Module):
    """A term that keeps the outputs of earlier steps, and what they were."""

    kept: list = []  # noqa: RUF012  # of the test

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return a loss of the output."""
        (output,) = inputs.prediction.sources
        for each in (output, inputs.posterior.mu):
            self.kept.append((each.detach(), each.detach().clone()))
        return inputs.view(LogMagnitude())[0].mean()


def test_outputs_of_a_replayed_model_may_be_kept(make):
    """The next step does not write over what a term keeps."""
    term = TermSpec(name="keeper", config=TermConfig, build=Keeper, summary="")
    trainer = make("run", steps=6, balance=None, gradient_every=0, term=term)
    trainer.train()
    assert len(Keeper.kept) >= 12
    assert all(torch.equal(one, other) for one, other in Keeper.kept)


class Faulty(nn.Module):
    """A term that is NaN in training in the third step of six."""

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return it."""
        value = inputs.view(LogMagnitude())[0].mean()
        return value * math.nan if torch.is_grad_enabled() and round(6 * inputs.progress) == 2 else value


FAULTY = TermSpec(name="faulty", config=TermConfig, build=Faulty, summary="")


def test_a_step_that_is_not_finite_is_skipped_on_the_device(make):
    """A step that is not finite is skipped without a wait: one warning, a kept batch and finite weights."""
    trainer = make("run", steps=6, nonfinite="skip", balance=None, term=FAULTY)
    trainer.train()
    assert trainer.step == 6
    assert [message.splitlines()[0].split(":")[0] for message in make.warnings] == ["Step 3 is skipped"]
    assert all(value.isfinite().all() for value in trainer.vae.state_dict().values())
    kept = load_state(trainer.run.batch)
    assert kept["step"] == 3
    assert kept["waveform"].shape == (2, trainer.clip_samples)
    assert len(kept["torch"]) == 2  # the states of the CPU's generator and of the device's


def test_a_kept_batch_is_computed_again_there(recordings, tiny_options, tmp_path):
    """A kept batch gives the same values of each term on CUDA and the CPU; the NaN term is named."""
    options = {**tiny_options, "training.device": "cuda", "training.nonfinite": "stop"}
    with pytest.raises(TrainingError, match="faulty"):
        api.train(
            recordings, loss=["stft", "recon", "kl", FAULTY], options=options, steps=6, out=tmp_path / "run"
        )
    found = [
        api.repeat_batch(tmp_path / "run", loss=[FAULTY], device=device).examination
        for device in ("cpu", "cuda")
    ]
    for one, other in zip(found[0].terms, found[1].terms, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-2, abs=1e-5, nan_ok=True)
        assert math.isnan(other.value) == (one.name == "faulty")


def test_a_resumed_training_equals_one_that_was_never_stopped(make):
    """Weights after eight steps are those of four and four more, but for the order of sums."""
    straight = make("straight", precision="float32", steps=8)
    straight.train()
    stopped = make("stopped", precision="float32", steps=8)
    report = stopped.report

    class Enough(Exception):  # noqa: N818  # ends a training, and is no error
        pass

    def stop(record):
        report(record)
        if record.step == 4 and record.split == "train":
            stopped.save()
            raise Enough

    stopped.report = stop
    with pytest.raises(Enough):
        stopped.train()
    resumed = make("stopped", precision="float32", steps=8)
    resumed.train(load_latest(stopped.run.checkpoints).state)
    assert resumed.step == 8
    for (name, one), other in zip(
        resumed.vae.state_dict().items(), straight.vae.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: at + text)


def test_a_run_goes_on_from_device_to_device(recordings, tiny, tmp_path):
    """A run is resumed from CUDA to the CPU and back, and then measured and used, and has a page."""
    folder = tmp_path / "run"

    def distill(*words):
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as a new process has it
        result = CliRunner(env={"COLUMNS": "300"}).invoke(main, [str(word) for word in words])
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result

    device = "--set", "training.device=cuda"
    distill("train", recordings, "--loss", "stft,recon,kl", *tiny, *device, "--steps", 4, "--out", folder)
    distill("train", "--resume", "--out", folder, "--steps", 6, "--device", "cpu")
    page = "--set", "training.page=true"
    distill("train", "--resume", "--out", folder, "--steps", 8, "--device", "cuda", *page)
    assert (folder / "report.html").stat().st_size > 1e6
    profiled = json.loads(distill("losses", "profile", "--run", folder, "--batches", 1, "--json").stdout)
    assert profiled
    distill("evaluate", folder, recordings / "a.wav", "--no-visqol")
    distill("reconstruct", folder, recordings / "a.wav", "--out", tmp_path / "made")
    distill("generate", folder, "-n", 1, "--out", tmp_path / "new")
    assert len(list((tmp_path / "made").rglob("*.wav"))) == 1
    assert len(list((tmp_path / "new").rglob("*.wav"))) == 1
