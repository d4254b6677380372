"""Checks of how a term reduces a batch: the result must not depend on the order of the examples."""

import torch
from torch import Tensor

from distill.testing.checks.sounds import close
from distill.testing.outcome import Failed, NotApplicable
from distill.testing.subject import Subject, gradients, leaves


def dual_mono(subject: Subject) -> None:
    """A batch of two equal examples, such as the channels of a dual mono recording, has the value of one."""
    subject.require_value()
    module, made = subject.build(), subject.material(batch=1)
    once = subject.value(module, subject.inputs(made), "given one example, ")
    twice = subject.value(module, subject.inputs(made.taken([0, 0])), "given one example twice, ")
    if not close(once, twice):
        raise Failed(
            f"the value of an example is {once.item():g}, that of two equal ones {twice.item():g}; "
            "take the mean over the batch, not the sum"
        )


def permutation(subject: Subject) -> None:
    """The value does not depend on the order of the examples."""
    subject.require_value()
    module, made = subject.build(), subject.material(batch=4)
    inputs = subject.inputs(made)
    value = subject.value(module, inputs)
    heard = _heard(gradients(value, leaves(inputs)), 4)
    order = [*reversed(heard), *(example for example in range(4) if example not in heard)]
    other = subject.value(module, subject.inputs(made.taken(order)))
    if not close(value, other):
        raise Failed(
            f"the value is {value.item():g}, and {other.item():g} with the examples in another order; "
            "treat them all alike"
        )


def _heard(pulls: list[Tensor | None], batch: int) -> list[int]:
    """Return the examples that get a gradient. With `LossInputs.first`, these are only the first few."""
    given = [pull.flatten(1).any(1) for pull in pulls if pull is not None]
    if not given:
        return [*range(batch)]
    return torch.stack(given).any(0).nonzero().flatten().tolist()


def batch_split(subject: Subject) -> None:
    """If a term is declared `per_example`, its value for a batch is the mean of its values per example."""
    if not subject.spec.per_example:
        raise NotApplicable("declared per_example=False")
    subject.require_value()
    module, made = subject.build(), subject.material(batch=3)
    whole = subject.value(module, subject.inputs(made))
    alone = [subject.value(module, subject.inputs(made.taken([example]))) for example in range(3)]
    mean = torch.stack(alone).mean()
    if not close(whole, mean):
        raise Failed(
            f"the value of a batch is {whole.item():g}, the mean of its examples' values {mean.item():g}; "
            "reduce each example separately and take the mean, or declare TermSpec(..., per_example=False)"
        )
