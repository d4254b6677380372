"""Tests of distill.training.trainer: a resumed training reports what one that was never stopped reports."""

import attrs
from torch import nn

from distill import TermConfig
from distill.storage.checkpoints import load_latest
from distill.training.recorder import Reported
from distill.views import LogMagnitude

STEPS, LOG_EVERY = 12, 4


@attrs.frozen(kw_only=True)
class LateConfig(TermConfig):
    """The options of a term that starts in the middle of a window."""

    def has_begun(self, progress):
        """Return whether half of the training is done."""
        return progress >= 0.5


class Late(nn.Module):
    """A term that measures a level, from half of the training on."""

    config = LateConfig

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return a level."""
        return inputs.view(LogMagnitude())[0].mean().square()


class StopError(Exception):
    """Raised by a listener."""


def comparable(record):
    """Return a record without what a clock measured."""
    return attrs.evolve(record, seconds=0.0, audio_rate=0.0)


def test_a_listener_may_stop_it_at_every_record(make):
    """Each time a listener raises, and the run is resumed: every record comes once, and is equal."""
    straight = make(
        Late, steps=STEPS, log_every=LOG_EVERY, evaluations=3, gradient_every=3, folder="straight"
    )
    straight.train()
    told = []
    state = None

    def stop(record):
        told.append(comparable(record))
        raise StopError

    while True:
        trainer = make(
            Late, steps=STEPS, log_every=LOG_EVERY, evaluations=3, gradient_every=3, on_record=stop
        )
        try:
            trainer.train(state)
        except StopError:
            state = load_latest(trainer.run.checkpoints).state
            assert state["records"] == [attrs.asdict(trainer.records[-1])]
        else:
            break
    assert told == [comparable(record) for record in straight.records]
    assert [record.step for record in told if record.gradients] == [4, 6, 12]  # 6: where a term starts


def test_a_checkpoint_within_a_window_continues_it(make):
    """A run killed after any checkpoint repeats the records after it, with the same means."""
    killed = make(Late, steps=STEPS, log_every=LOG_EVERY, evaluations=3, gradient_every=3)
    killed.settings = attrs.evolve(killed.settings, checkpoint_minutes=1e-9)
    states, save = {}, killed.save

    def keep():
        save()
        states[killed.step] = load_latest(killed.run.checkpoints).state

    killed.save = keep
    killed.train()
    for step in (1, 6, 8):
        resumed = make(
            Late, steps=STEPS, log_every=LOG_EVERY, evaluations=3, gradient_every=3, folder=f"resumed-{step}"
        )
        resumed.train(states[step])
        reported = Reported.of(states[step])
        last = {"train": reported.train, "heldout": reported.heldout}
        expected = [comparable(each) for each in killed.records if each.step > last[each.split]]
        assert [comparable(record) for record in resumed.records] == expected
