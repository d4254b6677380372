"""Tests of distill.testing.observers: what torch does inside of a `with` block."""

import numpy as np
import pytest
import torch

from distill.testing.observers import half_precision, synchronizations

WAITING = {
    "item": (lambda x: x.sum().item(), ".item(), a branch on a tensor, or a number made of one"),
    "branch": (lambda x: bool(x.sum() > 0), ".item(), a branch on a tensor, or a number made of one"),
    "float": (lambda x: float(x.sum()), ".item(), a branch on a tensor, or a number made of one"),
    "equal": (lambda x: torch.equal(x, x + 1), "torch.equal(...)"),
    "nonzero": (lambda x: x.nonzero(), "nonzero(), whose shape depends on the values"),
    "where": (lambda x: torch.where(x > 0), "nonzero(), whose shape depends on the values"),
    "masked_select": (
        lambda x: x.masked_select(x > 0),
        "masked_select(), whose shape depends on the values",
    ),
    "mask": (lambda x: x[x > 0], "indexing with a mask, whose shape depends on the values,"),
    "unique": (lambda x: x.unique(), "unique(), whose shape depends on the values"),
    "tolist": (lambda x: x.tolist(), ".tolist()"),
    "numpy": (lambda x: x.detach().numpy(), ".numpy()"),
    "cpu": (lambda x: x.cpu(), ".cpu()"),
    "to": (lambda x: x.to("cpu"), '.to("cpu")'),
    "asarray": (lambda x: np.asarray(x.detach()), "a NumPy array made of a tensor"),
}


@pytest.mark.parametrize(("act", "said"), WAITING.values(), ids=WAITING)
def test_what_waits_is_noted(act, said):
    """Each operation is noted that hands a value, or a shape that depends on values, to the processor."""
    with synchronizations() as seen:
        act(torch.randn(8))
    assert seen[0] == said


def assign(x):
    """Fill where a mask holds, which torch does without waiting."""
    x = x.clone()
    x[x > 0] = 0.0
    return x


@pytest.mark.parametrize(
    "act",
    [
        lambda x: torch.where(x > 0, x, 0),
        lambda x: x[:, 1:].to(x.device).float().unfold(-1, 2, 1),
        lambda x: x.masked_fill(x > 0, 0),
        lambda x: x[torch.tensor([1, 0])],
        lambda x: x.sort().values.tensor_split(3, -1),
        assign,
    ],
)
def test_what_does_not_wait_is_not_noted(act):
    """Operations whose shapes are known beforehand are not noted."""
    with synchronizations() as seen:
        act(torch.randn(2, 8))
    assert seen == []


class Waiting(torch.autograd.Function):
    """Waits on the way back."""

    @staticmethod
    def forward(_, x):
        """Double."""
        return 2 * x

    @staticmethod
    def backward(_, gradient):
        """Look at the gradient."""
        return gradient * gradient.sum().item()


def test_the_way_back_is_observed():
    """A custom gradient that waits is noted as well."""
    x = torch.randn(3, requires_grad=True)
    with synchronizations() as seen:
        value = Waiting.apply(x).sum()
        assert seen == []
        value.backward()
    assert seen


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_noted(dtype):
    """Half precision is noted by the name of the operation, even if the result is cast to float32."""
    with half_precision() as seen:
        torch.ones(2).to(dtype).float()
    assert seen == [f"aten._to_copy gives a {dtype} tensor"]


def test_autocast_is_noted_and_float32_is_not():
    """An operation that autocast casts to half precision is noted; the same one in float32 is not."""
    x = torch.ones(2, 2)
    with half_precision() as seen:
        _ = (x @ x).double()
        assert seen == []
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _ = x @ x
    assert "aten.mm gives a torch.bfloat16 tensor" in seen
