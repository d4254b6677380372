"""Tests of distill.training.trainer: what a training does to a model, when, and what it tells of it."""

from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from distill.audio.corpus import open_corpus
from distill.storage.checkpoints import load_latest
from distill.training.nonfinite import Before
from distill.views import LogMagnitude


def heldout_reconstruction(trainer):
    """Measure the held-out reconstruction of a trainer's model as it is."""
    trainer._evaluate()  # noqa: SLF001  # what a training does now and then
    return trainer.recorded("heldout")[-1][1]["reconstruction"]


def test_the_loss_falls(make, monkeypatch):
    """Sixty steps on four recordings bring the reconstruction far down, and the held-out one as well."""
    monkeypatch.setattr("distill.training.batches.initialize_axes", lambda *_: None)  # from scratch
    trainer = make(steps=60, learning_rate=0.02, mix=0.0, gain_db=0.0)
    before = heldout_reconstruction(trainer)
    trainer.train()
    values = [components["reconstruction"] for _, components in trainer.recorded()]
    assert sum(values[-5:]) < 0.6 * sum(values[:5])
    assert heldout_reconstruction(trainer) < 0.6 * before


class Listening(nn.Module):
    """A term that notes how what it hears is made, and costs nothing."""

    heard: ClassVar[Counter] = Counter()

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Note it."""
        self.heard[inputs.prediction.iterations, inputs.target.iterations] += 1
        return 0 * inputs.view(LogMagnitude())[0].mean()


@pytest.mark.parametrize("iterations", [0, 3])
def test_terms_hear_the_result_of_griffin_lim_iterations(make, monkeypatch, iterations):
    """Griffin-Lim iterates on the prediction alone, as set, in training and in measuring."""
    monkeypatch.setattr(Listening, "heard", Counter())
    make(Listening, steps=1, evaluations=1, griffin_lim_iterations=iterations).train()
    assert Listening.heard == {(iterations, 0): 2}


def test_a_seed_decides_everything(make):
    """The same seed gives the same metrics to the last bit, another one others."""
    one, same, other = (make(steps=3, seed=seed) for seed in (0, 0, 1))
    for trainer in (one, same, other):
        trainer.train()
    assert one.recorded() == same.recorded()
    assert one.recorded() != other.recorded()
    torch.testing.assert_close(one.model_state(), same.model_state(), rtol=0, atol=0)


def test_a_seed_decides_clips_and_noise(make):
    """Another seed draws other clips and noise, not just other initial weights."""
    one, other = make(seed=0), make(seed=1)
    assert not torch.equal(one.draw_clips(), other.draw_clips())  # what a step draws
    assert not torch.equal(one.draw_noise(), other.draw_noise())  # as above


def test_learning_rate_and_weights_follow_their_schedules(make):
    """The rate warms up over 2 steps and falls by a cosine; KL ramps up until 30 %."""
    rates = []
    trainer = make(
        steps=8,
        learning_rate=0.1,
        warmup_steps=2,
        on_record=lambda _: rates.append(trainer.optimization.optimizer.param_groups[0]["lr"]),
        evaluations=1,
    )
    trainer.train()
    expected = [1 / 3, (0.01 + 0.99 * 0.961940) * 2 / 3, 0.855018, 0.694428, 0.505, 0.315572, 0.154982]
    assert rates[:7] == pytest.approx([0.1 * rate for rate in expected], rel=1e-5)
    weights = [record.weights for record in trainer.records if record.split == "train"]
    assert [weight["kl"] for weight in weights] == pytest.approx(
        [0, 0.01 * 0.125 / 0.3, 0.01 * 0.25 / 0.3] + 5 * [0.01]
    )
    assert [weight["reconstruction"] for weight in weights] == pytest.approx(8 * [0.1])


def test_a_training_of_minutes_ends_by_the_clock(make, monkeypatch):
    """Steps of one second each fill a tenth of a minute with six of them; time trained before counts."""
    now = 1000.0

    def draw(*arguments):
        nonlocal now
        now += 1
        return original(*arguments)

    monkeypatch.setattr("distill.training.trainer.time", SimpleNamespace(monotonic=lambda: now))
    trainer = make(minutes=0.1, evaluations=1)
    original = trainer.draw_noise  # called once a step
    monkeypatch.setattr(trainer, "draw_noise", draw)
    trainer.train()
    records = [record for record in trainer.records if record.split == "train"]
    assert [record.seconds for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.progress for record in records] == pytest.approx([n / 6 for n in range(1, 7)])
    # Two clips each second, of as many samples as 32 frames of 64, four latent frames, hold.
    assert {record.audio_rate for record in records} == {2 * 31 * 64 / 8000}
    resumed = make(minutes=0.15, evaluations=1)
    original = resumed.draw_noise  # as above
    monkeypatch.setattr(resumed, "draw_noise", draw)
    resumed.train(load_latest(trainer.run.checkpoints).state)
    assert [r.seconds for r in resumed.records if r.split == "train"] == [7, 8, 9]


@pytest.mark.parametrize("options", [{}, {"balance": "gradient", "encoder_rate": 0.5}], ids=["", "balanced"])
def test_measuring_gradients_changes_nothing(make, options):
    """Weights, components and what is drawn are the same to the bit, with it in every step and without."""
    trainers = [make(steps=4, gradient_every=every, folder=f"every-{every}", **options) for every in (0, 1)]
    for trainer in trainers:
        torch.manual_seed(0)
        trainer.train()
    one, other = trainers
    assert [record.gradients is None for record in one.records if record.split == "train"] == [True] * 4
    assert all(record.gradients["shares"] for record in other.records if record.split == "train")
    for trainer in trainers:
        rates = [record.learning_rate for record in trainer.records if record.split == "train"]
        assert rates[0] == pytest.approx(1e-3 / 3)  # the first of two steps of warm-up
    assert one.recorded() == other.recorded()
    assert one.recorded("heldout") == other.recorded("heldout")
    assert torch.equal(one.noise.get_state(), other.noise.get_state())
    assert torch.equal(one.clips.get_state(), other.clips.get_state())
    for name, value in one.model_state().items():
        assert torch.equal(value, other.vae.state_dict()[name]), name


def test_a_record_is_the_mean_since_the_last(make):
    """Three steps to a record give the means of what each of them would have reported."""
    each = make(steps=7)
    each.train()
    every_third = make(steps=7, log_every=3)
    every_third.train()
    assert [step for step, _ in every_third.recorded()] == [3, 6, 7]
    single = [components for _, components in each.recorded()]
    for (_, means), window in zip(every_third.recorded(), (single[:3], single[3:6], single[6:]), strict=True):
        for name, value in means.items():
            assert value == pytest.approx(sum(record[name] for record in window) / len(window), rel=1e-5)
    assert list(each.recorded()[0][1]) == [
        "total",
        "reconstruction",
        "reconstruction/magnitude",
        "reconstruction/instantaneous_frequency",
        "kl",
        "gradient_norm",
    ]


def test_long_gradients_are_shortened(make):
    """The optimizer gets no more than the limit; the record tells how long the gradient was."""
    limit = 1e-4
    trainer = make(steps=1, max_gradient_norm=limit)
    trainer.train()
    gradients = [parameter.grad for parameter in trainer.vae.parameters()]
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(limit, rel=1e-3)
    assert trainer.recorded()[0][1]["gradient_norm"] > 100 * limit


def test_held_out_clips_are_the_same_each_time(make):
    """Two measurements of one model agree, at the weights of the end, and use no random numbers of it."""
    trainer = make(steps=8)
    for _ in range(2):
        trainer._evaluate()  # noqa: SLF001  # without training in between
    first, second = (record for record in trainer.records if record.split == "heldout")
    assert first == second
    assert first.weights["kl"] == pytest.approx(0.01)
    assert trainer.progress == 0


def test_measuring_does_not_change_the_training(make):
    """However often the held-out loss is taken, the model comes out the same."""
    often, once = make(steps=6, evaluations=6), make(steps=6, evaluations=1)
    often.train()
    once.train()
    assert [len(trainer.recorded("heldout")) for trainer in (often, once)] == [6, 1]
    torch.testing.assert_close(often.model_state(), once.model_state(), rtol=0, atol=0)


def test_a_training_needs_no_held_out_recordings(make, recordings, cache):
    """With nothing held out, nothing is measured, and the training goes through."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=cache, heldout_fraction=0.0)
    trainer = make(steps=3, corpus=corpus)
    trainer.train()
    assert trainer.recorded("heldout") == []
    assert len(trainer.recorded()) == 3


@pytest.mark.parametrize(
    ("totals", "warned"),
    [
        ([1, 2, 3, 4, 5], 0),
        ([1, 2, 3, 4, 5, 6], 1),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 2),
        ([9, 1, 2, 3, 4, 5, 6], 1),
        ([1, 2, 3, 3, 4, 5, 6], 0),
        ([2, 2, 2, 2, 2, 2, 2], 0),
        ([1, 2, 3, 2, 3, 4, 5, 6], 0),
    ],
)
def test_a_held_out_loss_that_keeps_rising_is_warned_of(make, monkeypatch, totals, warned):
    """A warning comes after each five rises in a row, not after four, nor at each rise after the fifth."""
    trainer = make(steps=8)
    values = iter(totals)
    monkeypatch.setattr(trainer, "_compute", lambda *_, **__: {"total": torch.tensor(float(next(values)))})
    for _ in totals:
        trainer._evaluate()  # noqa: SLF001  # without training in between
    assert len(trainer.warnings) == warned


def test_the_warning_tells_what_happens_and_what_to_do(make, monkeypatch):
    """The warning says that the held-out loss rises, and offers the best checkpoint."""
    trainer = make(steps=8)
    trainer.heldout.totals = [3.0, 1.0, 1.5, 2.0, 2.5, 3.0]
    monkeypatch.setattr(trainer, "_compute", lambda *_, **__: {"total": torch.tensor(3.25)})
    trainer._evaluate()  # noqa: SLF001  # without training in between
    (warning,) = trainer.warnings
    assert warning.startswith(
        "The held-out loss has risen 5 evaluations in a row, from 1 to 3.25: the model overfits its "
        "training recordings. Stop here, or add recordings. The best checkpoint is that of step 0. "
    )


class CountingSyncs(TorchDispatchMode):
    """Counts what makes the host wait for a tensor's value, in Python or below it."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique", "masked_select")

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Count and go on."""
        name = function.overloadpacket.__name__
        self.count[name] += name in self.WAITING
        return function(*args, **(kwargs or {}))


def test_a_step_does_not_wait_for_the_device(make, monkeypatch):
    """No value is taken to the host between records."""
    trainer = make(steps=2)
    trainer.train()
    batch = trainer.draw_clips()  # which is the host's work
    monkeypatch.setattr(trainer, "draw_clips", lambda: batch)
    with CountingSyncs() as seen:
        float(torch.ones(()))
    assert seen.count.total() == 1
    for name in ("tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_: pytest.fail("a value was taken to the host"))
    with CountingSyncs() as seen:
        trainer._take_step()  # noqa: SLF001  # the step alone
    assert len(seen.count) > 20  # kinds of operations: it did look
    assert seen.count.total() == 0


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_processes_share_a_step_between_them(make, monkeypatch, processes):
    """Their clips and noise, one after the other, are those of one process, with what lies over them."""
    training = {"steps": 1, "batch_size": 6, "mix": 1.0}
    whole = make(**training)
    clips, noise = whole.draw_clips(), whole.draw_noise()  # what a step draws
    shares = []
    for index in range(processes):
        trainer = make(**training)
        accelerator = SimpleNamespace(
            process_index=index, num_processes=processes, device=torch.device("cpu")
        )
        monkeypatch.setattr(trainer, "accelerator", accelerator)
        shares.append((trainer.draw_clips(), trainer.draw_noise()))  # as above
        assert torch.equal(trainer.clips.get_state(), whole.clips.get_state())
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), clips, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([share[1] for share in shares]), noise, rtol=0, atol=0)


def test_a_process_reads_no_more_than_its_share(make, monkeypatch):
    """Of six clips one of two processes reads its three, and the one that may lie over the first."""
    trainer = make(steps=1, batch_size=6)
    accelerator = SimpleNamespace(process_index=1, num_processes=2, device=torch.device("cpu"))
    monkeypatch.setattr(trainer, "accelerator", accelerator)
    read = []
    draw = type(trainer.corpus.train).draw
    monkeypatch.setattr(
        "distill.audio.corpus.Split.draw",
        lambda *arguments, rows: read.extend(rows) or draw(*arguments, rows=rows),
    )
    trainer.draw_clips()  # what a step draws
    assert read == [2, 3, 4, 5]


def test_what_is_bad_for_one_process_stops_all(make, monkeypatch):
    """The optimizer skips a step if the loss is not finite in any process."""
    trainer = make(steps=1)
    before = Before(step=0, progress=0.0, **trainer._drawn())  # noqa: SLF001  # by itself
    elsewhere = SimpleNamespace(num_processes=3, reduce=lambda bad, reduction: {"sum": bad + 2}[reduction])
    monkeypatch.setattr(trainer, "accelerator", elsewhere)
    components = {"total": torch.ones(()), "gradient_norm": torch.ones(())}
    assert trainer._note(before, components, None) == 1  # noqa: SLF001  # as above


def test_a_record_is_the_mean_over_the_processes(make, monkeypatch):
    """What was logged would otherwise be of the main process's clips alone."""
    trainer = make(steps=1)
    monkeypatch.setattr(
        trainer.accelerator,
        "reduce",
        lambda values, reduction: {"mean": values * 3}[reduction],
        raising=False,
    )
    alone = make(steps=1, folder="alone")
    for each in (trainer, alone):
        each.train()
    assert trainer.recorded()[0][1]["kl"] == pytest.approx(3 * alone.recorded()[0][1]["kl"])


def test_only_the_main_process_writes(make, monkeypatch):
    """Another process neither reports nor saves."""
    trainer = make(steps=1)
    monkeypatch.setattr(
        trainer,
        "accelerator",
        SimpleNamespace(is_main_process=False, process_index=1, num_processes=2, device=torch.device("cpu")),
    )
    trainer._report(trainer._record("train", {"total": 1.0}, step=1, audio_rate=1.0))  # noqa: SLF001  # by itself
    trainer.save()
    assert trainer.records == []
    assert not trainer.run.folder.exists()


def test_an_encoder_that_is_kept_has_no_gradient(make):
    """At a rate of 0 it stays as it was, and shortens no gradient of the decoder; at others it learns."""
    moved = {}
    for rate in (0.0, 0.5):
        trainer = make(steps=1, encoder_rate=rate, folder=f"run-{rate}")
        before = [parameter.clone() for parameter in trainer.vae.encoder_parameters()]
        decoder = trainer.vae.patch_out.weight.clone()
        trainer.train()
        after = list(trainer.vae.encoder_parameters())
        moved[rate] = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
        assert all((parameter.grad is None) == (rate == 0) for parameter in after)
        assert not torch.equal(trainer.vae.patch_out.weight, decoder)
    assert not any(moved[0.0])
    assert all(moved[0.5])
