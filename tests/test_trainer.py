"""Tests of distill.trainer: what a training does to a model, and what stops it."""

import os
import signal
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from distill import TermConfig, TermSpec, hookimpl
from distill.assembly import make_accelerator, make_model, make_representation
from distill.checkpoints import load_latest, load_state
from distill.composer import CombinedLoss
from distill.corpus import open_corpus
from distill.errors import RunError, TrainingError
from distill.recipe import read_recipe
from distill.registry import Registry
from distill.run import Run
from distill.trainer import Interrupted, Trainer
from distill.views import LogMagnitude


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Give a folder for the decoded recordings."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def corpus(recordings, cache):
    """Open the tiny recordings, one of five held out."""
    return open_corpus(recordings, sample_rate=8000, cache=cache, heldout_fraction=0.2)


@pytest.fixture
def make(tiny_tree, corpus, tmp_path):
    """Make a trainer; its `records` and `warnings` are kept, and `on_record` sees each as it comes."""

    def make(*terms, folder="run", corpus=corpus, on_record=lambda _: None, model=(), **training):
        registry = Registry(discover=False)
        for term in terms:
            registry.register(Plugin(term), name=f"{term.__name__.lower()}-losses", version="1")
        names = ["recon", "kl", *(term.__name__.lower() for term in terms)]
        tree = {**tiny_tree, "training": tiny_tree["training"] | training}
        tree["model"] = tree["model"] | dict(model)
        draft = read_recipe(tree, registry, loss=",".join(names))
        recipe = draft.recipe
        representation = make_representation(recipe.representation)
        records, warnings = [], []

        def report(record):
            records.append(record)
            on_record(record)

        trainer = Trainer(
            recipe.training,
            make_accelerator(recipe.training),
            model=make_model(recipe.model, representation, recipe.training.seed),
            representation=representation,
            loss=CombinedLoss(draft.terms, recipe.loss),
            corpus=corpus,
            run=Run(tmp_path / folder),
            report=report,
            warn=warnings.append,
        )
        trainer.records, trainer.warnings = records, warnings
        return trainer

    return make


class Plugin:
    """A plugin with one term, built from its class."""

    def __init__(self, term):
        self.term = term

    @hookimpl
    def distill_loss_terms(self):
        """Yield it under the name of its class."""
        yield TermSpec(name=self.term.__name__.lower(), config=TermConfig, build=self.term, summary="")


class Breaking(nn.Module):
    """A term that is 0 until its third step in training, and then `value`, with a sound gradient."""

    value = float("nan")

    def __init__(self, _):
        super().__init__()
        self.steps = 0

    def forward(self, inputs):
        """Count the steps."""
        self.steps += torch.is_grad_enabled()
        return 0 * inputs.view(LogMagnitude())[0].mean() + (self.value if self.steps == 3 else 0.0)


class Infinite(Breaking):
    """The same with an infinity."""

    value = float("inf")


class Weighty(Breaking):
    """The same under a name that begins as those of the logged weights do."""


class Steep(Breaking):
    """The same with a value of 0 whose gradient is no number: that of a root at 0."""

    def forward(self, inputs):
        """Count the steps."""
        self.steps += torch.is_grad_enabled()
        nothing = 0 * inputs.view(LogMagnitude())[0].mean()
        return nothing.sqrt() if self.steps == 3 else nothing


def copy_of(trainer):
    """Copy the state of the model."""
    return {name: value.clone() for name, value in trainer.vae.state_dict().items()}


def assert_same(one, other):
    """Compare two models' states bit by bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def trained(trainer, split="train"):
    """Give step and components of the records of a split."""
    return [(record.step, record.components) for record in trainer.records if record.split == split]


def test_the_loss_falls(make):
    """Fifty steps on four recordings bring the reconstruction far down, and the held-out one as well."""
    trainer = make(steps=50, learning_rate=0.02, mix=0.0, gain_db=0.0)
    trainer.train()
    values = [components["reconstruction"] for _, components in trained(trainer)]
    assert sum(values[-5:]) < 0.6 * sum(values[:5])
    untrained = make(steps=50)
    untrained._normalise()  # noqa: SLF001  # as at the start of a training
    for each in (trainer, untrained):
        each._evaluate()  # noqa: SLF001  # the one trained, the other not
    after, before = (trained(each, "heldout")[-1][1]["reconstruction"] for each in (trainer, untrained))
    assert after < 0.6 * before


def test_a_seed_decides_everything(make):
    """The same seed gives the same metrics to the last bit, another one others."""
    one, same, other = (make(steps=3, seed=seed) for seed in (0, 0, 1))
    for trainer in (one, same, other):
        trainer.train()
    assert trained(one) == trained(same)
    assert trained(one) != trained(other)
    assert_same(copy_of(one), copy_of(same))


def test_a_seed_decides_clips_and_noise(make):
    """Not the initial weights alone: another seed draws other clips and other noise."""
    one, other = make(seed=0), make(seed=1)
    assert not torch.equal(one._draw_clips(), other._draw_clips())  # noqa: SLF001  # what a step draws
    assert not torch.equal(one._draw_noise(), other._draw_noise())  # noqa: SLF001  # as above


def interrupt_at(step, number=signal.SIGINT):
    """Send this process a signal when a step is reported."""

    def on_record(record):
        if record.step == step and record.split == "train":
            os.kill(os.getpid(), number)

    return on_record


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_resumed_training_equals_one_that_was_never_stopped(make, number):
    """Model, optimizer, metrics and schedules are those of a straight run, bit by bit."""
    straight = make(steps=8, folder="straight", evaluations=4)
    straight.train()
    handler = signal.getsignal(number)
    stopped = make(steps=8, evaluations=4, on_record=interrupt_at(4, number))
    with pytest.raises(Interrupted):
        stopped.train()
    assert signal.getsignal(number) is handler
    checkpoint = load_latest(stopped.run.checkpoints)
    assert checkpoint.step == stopped.step == 5  # the step that was under way is finished
    resumed = make(steps=8, evaluations=4)
    resumed.train(checkpoint.state)
    assert resumed.step == 8
    assert_same(copy_of(resumed), copy_of(straight))
    assert_same(load_state(resumed.run.model), copy_of(straight))
    for split in ("train", "heldout"):
        assert trained(stopped, split) + trained(resumed, split) == trained(straight, split)
    assert resumed.heldout_totals == straight.heldout_totals
    states = [each.optimizer.state_dict()["state"] for each in (resumed, straight)]
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert_same(one, other)


def test_a_second_signal_ends_the_process_as_usual(make):
    """Who presses Ctrl-C again does not want to wait for a step or a disk."""

    def on_record(record):
        if record.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    # What is usual is for the test to say: a shell's background jobs are born deaf to SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            make(steps=8, evaluations=1, on_record=on_record).train()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_state_of_another_model_is_refused(make):
    """The whole message where the recipe was changed by hand."""
    trainer = make(steps=1)
    trainer.train()
    state = load_latest(trainer.run.checkpoints).state
    with pytest.raises(RunError) as caught:
        make(steps=2, model={"width": 8}).train(state)
    assert str(caught.value) == (
        f"{trainer.run.folder}: its checkpoint is of another model than its recipe describes\n"
        "Restore recipe.toml as the training wrote it."
    )


@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Breaking, "breaking is nan"),
        (Infinite, "infinite is inf"),
        (Weighty, "weighty is nan"),
        (Steep, "gradient_norm is nan"),
    ],
)
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(make, term, expected, log_every):
    """The error names the component; model and optimizer are those before that step, and are saved."""
    good = make(term, steps=8, folder="good", on_record=interrupt_at(1))
    with pytest.raises(Interrupted):
        good.train()
    assert good.step == 2
    trainer = make(term, steps=8, log_every=log_every)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    window = "steps 3..3" if log_every == 1 else "steps 1..4"
    assert str(caught.value) == (
        f"{window}: the loss is not finite: {expected}\n"
        "The model is saved as it was before that step. Lower training.learning_rate or the "
        "weight of that term, and go on with --resume."
    )
    assert caught.value.exit_status == 1
    assert_same(copy_of(trainer), copy_of(good))
    assert_same(load_latest(trainer.run.checkpoints).state["model"], copy_of(good))
    assert_same(load_state(trainer.run.model), copy_of(good))
    assert {float(state["step"]) for state in trainer.optimizer.state.values()} == {2.0}
    for parameter, state in trainer.optimizer.state.items():
        assert parameter.isfinite().all()
        assert state["exp_avg"].isfinite().all()


def test_a_broken_training_can_go_on(make):
    """What was saved is resumed, and trains."""
    with pytest.raises(TrainingError):
        make(Breaking, steps=8).train()
    resumed = make(Breaking, steps=5)  # two steps on, and the term breaks in the third one only
    resumed.train(load_latest(resumed.run.checkpoints).state)
    assert resumed.step == 5


def test_learning_rate_and_weights_follow_their_schedules(make):
    """By hand: a warm-up over 2 steps, half a cosine to a hundredth, and a KL weight ramped up to 30 %."""
    rates = []
    trainer = make(
        steps=8,
        learning_rate=0.1,
        warmup_steps=2,
        on_record=lambda _: rates.append(trainer.optimizer.param_groups[0]["lr"]),
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

    monkeypatch.setattr("distill.trainer.time", SimpleNamespace(monotonic=lambda: now))
    trainer = make(minutes=0.1, evaluations=1)
    original = trainer._draw_noise  # noqa: SLF001  # called once a step
    monkeypatch.setattr(trainer, "_draw_noise", draw)
    trainer.train()
    records = [record for record in trainer.records if record.split == "train"]
    assert [record.seconds for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.progress for record in records] == pytest.approx([n / 6 for n in range(1, 7)])
    # Two clips of 0.2 s each second, as many samples as 26 frames of 64 hold.
    assert {record.audio_rate for record in records} == {2 * 0.2}
    resumed = make(minutes=0.15, evaluations=1)
    original = resumed._draw_noise  # noqa: SLF001  # as above
    monkeypatch.setattr(resumed, "_draw_noise", draw)
    resumed.train(load_latest(trainer.run.checkpoints).state)
    assert [r.seconds for r in resumed.records if r.split == "train"] == [7, 8, 9]


def test_a_record_is_the_mean_since_the_last(make):
    """Three steps to a record give the means of what each of them would have reported."""
    each = make(steps=7)
    each.train()
    every_third = make(steps=7, log_every=3)
    every_third.train()
    assert [step for step, _ in trained(every_third)] == [3, 6, 7]
    single = [components for _, components in trained(each)]
    for (_, means), window in zip(trained(every_third), (single[:3], single[3:6], single[6:]), strict=True):
        for name, value in means.items():
            assert value == pytest.approx(sum(record[name] for record in window) / len(window), rel=1e-5)
    assert list(trained(each)[0][1]) == [
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
    norms = [parameter.grad.norm() for parameter in trainer.vae.parameters()]
    assert float(torch.stack(norms).norm()) == pytest.approx(limit, rel=1e-3)
    assert trained(trainer)[0][1]["gradient_norm"] > 100 * limit


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
    assert [len(trained(trainer, "heldout")) for trainer in (often, once)] == [6, 1]
    assert_same(copy_of(often), copy_of(once))


def test_a_training_needs_no_held_out_recordings(make, recordings, cache):
    """With nothing held out, nothing is measured, and the training goes through."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=cache, heldout_fraction=0.0)
    trainer = make(steps=3, corpus=corpus)
    trainer.train()
    assert trained(trainer, "heldout") == []
    assert len(trained(trainer)) == 3


@pytest.mark.parametrize(
    ("totals", "warned"),
    [
        ([1, 2, 3, 4, 5], 0),
        ([1, 2, 3, 4, 5, 6], 1),
        ([1, 2, 3, 4, 5, 6, 7], 2),
        ([9, 1, 2, 3, 4, 5, 6], 1),
        ([1, 2, 3, 3, 4, 5, 6], 0),
        ([2, 2, 2, 2, 2, 2, 2], 0),
        ([1, 2, 3, 2, 3, 4, 5, 6], 0),
        ([1, 2, 3, 4, 5, float("nan"), 7], 0),
    ],
)
def test_a_held_out_loss_that_keeps_rising_is_warned_of(make, monkeypatch, totals, warned):
    """After five rises in a row, not after four, nor where one of them is none."""
    trainer = make(steps=8)
    values = iter(totals)
    monkeypatch.setattr(trainer, "_compute", lambda *_, **__: {"total": torch.tensor(float(next(values)))})
    for _ in totals:
        trainer._evaluate()  # noqa: SLF001  # without training in between
    assert len(trainer.warnings) == warned


def test_the_warning_tells_what_happens_and_what_to_do(make, monkeypatch):
    """The whole text."""
    trainer = make(steps=8)
    trainer.heldout_totals = [3.0, 1.0, 1.5, 2.0, 2.5, 3.0]
    monkeypatch.setattr(trainer, "_compute", lambda *_, **__: {"total": torch.tensor(3.25)})
    trainer._evaluate()  # noqa: SLF001  # without training in between
    (warning,) = trainer.warnings
    assert warning == (
        "The held-out loss has risen 5 evaluations in a row, from 1 to 3.25: the model learns its "
        "recordings by heart. Stop here, or add recordings."
    )


def test_checkpoints_are_taken_in_between(make):
    """With next to no time between them there is one after every step, and the newest three stay."""
    trainer = make(steps=6, checkpoint_minutes=1e-9)
    trainer.train()
    names = sorted(path.name for path in trainer.run.checkpoints.iterdir())
    assert names == [f"step-0000000{step}.safetensors" for step in (4, 5, 6)]
    rare = make(steps=6, folder="rare", checkpoint_minutes=10)
    rare.train()
    assert [path.name for path in rare.run.checkpoints.iterdir()] == ["step-00000006.safetensors"]


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
    """No value is taken to the host between records, whichever terms are in the loss."""
    trainer = make(Breaking, steps=2)
    trainer.train()
    batch = trainer._draw_clips()  # noqa: SLF001  # which is the host's work
    monkeypatch.setattr(trainer, "_draw_clips", lambda: batch)
    with CountingSyncs() as seen:
        float(torch.ones(()))
    assert seen.count.total() == 1
    for name in ("tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_: pytest.fail("a value was taken to the host"))
    with CountingSyncs() as seen:
        trainer._take_step()  # noqa: SLF001  # the step alone
    assert len(seen.count) > 20  # kinds of operations: it did look
    assert seen.count.total() == 0


def test_processes_share_a_step_between_them(make, monkeypatch):
    """Each of three takes every third clip, so that all clips are taken once."""
    trainer = make(steps=1)
    batch = torch.arange(7)
    shares = []
    for index in range(3):
        processes = SimpleNamespace(process_index=index, num_processes=3)
        monkeypatch.setattr(trainer, "accelerator", processes)
        shares.append(trainer._share(batch).tolist())  # noqa: SLF001  # by itself
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_only_the_main_process_writes(make, monkeypatch):
    """Another process neither reports nor saves."""
    trainer = make(steps=1)
    monkeypatch.setattr(
        trainer,
        "accelerator",
        SimpleNamespace(is_main_process=False, process_index=1, num_processes=2, device=torch.device("cpu")),
    )
    trainer._report("train", {"total": 1.0}, 1.0)  # noqa: SLF001  # by itself
    trainer.save()
    assert trainer.records == []
    assert not trainer.run.folder.exists()
