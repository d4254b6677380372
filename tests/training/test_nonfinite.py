"""Tests of distill.training.nonfinite: which steps are skipped, and which one stops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill.config.settings import TrainingSettings
from distill.training.nonfinite import Before, Buffers, Watch, is_finite, set_torch_states, torch_states

CPU = torch.device("cpu")


def before(step):
    """Return the state before a step, in which nothing matters but its number."""
    nothing = torch.zeros(())
    return Before(step=step, progress=0.0, clips=nothing, noise=nothing, corpus={}, torch=())


def watched(bad, looks, **settings):
    """Watch steps, some of which are bad, and look after some; return flags of skips and what was found."""
    watch = Watch(TrainingSettings(**settings), CPU)
    skipped, found = [], []
    for step, (is_bad, look) in enumerate(zip(bad, looks, strict=True)):
        value = math.nan if is_bad else float(step)
        flag = torch.tensor(float(is_bad))
        skipped.append(float(watch.add(before(step), {"total": torch.tensor(value)}, flag)))
        if look:
            found += watch.look()
            if found and found[-1].stops:
                return skipped, found
    return skipped, found + watch.look()


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12), st.integers(0, 3))
def test_skips_are_those_of_a_plain_count(steps, allowed):
    """Skips do not depend on when one looks: bad steps are skipped, until too many in a row."""
    bad, looks = [each for each, _ in steps], [each for _, each in steps]
    settings = {"nonfinite": "skip", "max_skipped": allowed} if allowed else {}
    skipped, found = watched(bad, looks, **settings)
    row, expected, stopped, flags = 0, [], False, []
    for step, is_bad in enumerate(bad):
        row = row + 1 if is_bad else 0
        if is_bad and not stopped:
            expected.append((step, row, row > allowed))
        flags.append(float(is_bad or stopped))
        stopped = stopped or row > allowed
    assert [(each.before.step, each.in_a_row, each.stops) for each in found] == expected
    assert skipped == flags[: len(skipped)]
    assert all(math.isnan(each.components["total"]) for each in found)
    assert [each.count for each in found] == list(range(1, len(found) + 1))


def test_a_long_window_is_looked_at_in_between():
    """Looking within a long window bounds the number of generator states that are kept."""
    watch = Watch(TrainingSettings(), CPU)
    for step in range(100):
        assert not watch.is_full
        watch.add(before(step), {"total": torch.zeros(())}, torch.zeros(()))
    assert watch.is_full
    assert watch.look() == []
    assert not watch.is_full


def test_skips_are_told_of_less_and_less_often():
    """Warnings tell of the first, the tenth and the hundredth skip."""
    watch = Watch(TrainingSettings(nonfinite="skip", max_skipped=1000), CPU)
    for step in range(120):
        watch.add(before(step), {"total": torch.zeros(())}, torch.ones(()))
    assert [each.count for each in watch.look() if watch.is_told(each)] == [1, 10, 100]


@pytest.mark.parametrize(
    ("total", "norm", "finite"), [(1.0, 1.0, True), (math.nan, 1.0, False), (1.0, math.inf, False)]
)
def test_totals_and_norms_decide(total, norm, finite):
    """A component that is not finite makes the total so, and a gradient has a norm; others do not count."""
    components = {"total": total, "monitored": math.nan, "gradient_norm": norm}
    assert bool(is_finite({name: torch.tensor(value) for name, value in components.items()})) == finite


class Averaging(nn.Module):
    """A module that writes to one buffer in place and replaces another."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("still", torch.ones(3))

    def forward(self, value):
        """Take a value into the averages."""
        self.average.mul_(0.5).add_(value)
        self.count = self.count + 1


def test_buffers_are_those_before_a_bad_step():
    """Buffers are restored after a bad step, even the first one, so that no average keeps a NaN."""
    module = Averaging()
    buffers = Buffers(nn.Sequential(module))
    for value, bad in ((math.nan, 1.0), (1.0, 0.0), (math.inf, 1.0), (math.nan, 1.0), (2.0, 0.0)):
        module(value)
        buffers.settle(torch.tensor(bad))
    assert module.average.tolist() == [2.5, 2.5]
    assert (int(module.count), module.still.tolist()) == (2, [1.0, 1.0, 1.0])


def test_the_random_numbers_of_terms_are_repeated():
    """What terms draw from torch's own generator is drawn again in a repeated step."""
    with torch.random.fork_rng(devices=[]):
        states = torch_states()
        first = torch.rand(3)
        set_torch_states(states)
        assert torch.equal(torch.rand(3), first)
