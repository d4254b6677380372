"""Tests of distill.testing.checks: each is proven by a wrong term that it alone catches."""

import re

import pytest
from checked_terms import (
    TRAINED,
    UNCOMPILED,
    Branched,
    Broadcasting,
    Deaf,
    Doubled,
    Forgetful,
    Framed,
    Gated,
    Improvised,
    Judge,
    Learning,
    Remembering,
    Right,
    Rooted,
    Stubborn,
    Unwrapped,
    batch_norm,
    branching,
    comparing,
    detached,
    failures,
    halved,
    in_place,
    negative,
    ordered,
    random,
    relative,
    single,
    spec_of,
    summed,
    undefined,
    uphill,
    vector,
)

from distill.testing.checks import CHECKS

NAMES = [check.__name__ for check in CHECKS]
PLACE = "PLACE"
"""What stands for the place of an error in the messages below."""

BATCH = {"per_example": False}
FLOAT32 = {"waivers": {**UNCOMPILED, "float64": "no gradient that is wrong is that of finite differences"}}
WRONG = {
    "config": (
        spec_of(Right, Doubled),
        (
            "written as TOML and read again, Doubled(weight=1.0, schedule=(), share=0.5) is "
            "Doubled(weight=1.0, schedule=(), share=0.25); leave out converters that change values they "
            "have already converted"
        ),
    ),
    "scalar": (
        comparing(vector),
        (
            "it returned a torch.float32 tensor of shape [2]; return a scalar float tensor, by .mean() for "
            "example, or a dict of them"
        ),
    ),
    "finite": (
        comparing(undefined),
        (
            "given a predicted spectrogram, the value is nan; keep logarithms, roots and divisors away "
            "from 0 by a small floor"
        ),
    ),
    "gradient": (
        comparing(detached),
        (
            "given a predicted spectrogram, no gradient reaches the prediction or the posterior; compute "
            "the loss of inputs.view(...) without detach(), item() or no_grad()"
        ),
    ),
    "inputs_unchanged": (
        comparing(in_place),
        (
            "the target is changed in place; other terms use the same tensors: use add, mul or "
            "clamp, not add_, mul_ or clamp_"
        ),
    ),
    "deterministic": (
        comparing(random),
        (
            "the same inputs give # and then #; draw random numbers when the term is built, and keep no "
            "state between calls"
        ),
    ),
    "minimum": (
        comparing(negative),
        (
            "at a spectrogram equal to the target's, the value is 0, but # where the prediction is near "
            "the target only; treat both sides alike, and return a value to be minimized"
        ),
    ),
    "descent": (
        comparing(uphill, **FLOAT32),
        (
            "no step against the gradient, of a relative size from 0.03 to 1e-05, lowers the value; look "
            "for a custom gradient, a detach() or a wrong sign"
        ),
    ),
    "silence": (
        comparing(relative),
        (
            "given a silent target, the prediction being a spectrogram, the value is inf; add a small "
            "floor to divisors and inside of logarithms"
        ),
    ),
    "gain": (
        spec_of(Gated),
        (
            "where both sides are 60 dB quieter, the prediction being a spectrogram, the gradient is 0 "
            "everywhere; lower the floor or the clamp that levels them, or compare logarithms"
        ),
    ),
    "short_input": (
        spec_of(Framed),
        (
            "a clip of 64 samples raised RuntimeError: maximum size for tensor at dimension 1 is 64 but "
            f"size is 1024 ({PLACE}); pad it, as distill.views.Stft does, or raise a "
            "distill.errors.ShapeError that says what is needed"
        ),
    ),
    "strict_shapes": (
        spec_of(Broadcasting),
        (
            "1 predicted example beside 2 was accepted without an error; use inputs.view(...) for both "
            "sides, which compares their shapes"
        ),
    ),
    "phase_turn": (
        spec_of(Unwrapped),
        (
            "IFs that differ by full turns result in # instead of #; compare them by 1 - cos(pi * "
            "difference), or wrap the difference to [-1, 1) first"
        ),
    ),
    "dual_mono": (
        comparing(summed, **BATCH),  # declared so, since what sums over a batch is no mean of examples either
        "the value of an example is #, that of two equal ones #; take the mean over the batch, not the sum",
    ),
    "permutation": (
        comparing(ordered, **BATCH),  # as above
        "the value is #, and # with the examples in another order; treat them all alike",
    ),
    "batch_split": (
        comparing(batch_norm),
        (
            "the value of a batch is #, the mean of its examples' values #; reduce each example "
            "separately and take the mean, or declare TermSpec(..., per_example=False)"
        ),
    ),
    "float32": (
        comparing(halved, **FLOAT32),
        (
            "aten._to_copy gives a torch.float16 tensor; leave out .half(), .bfloat16() and autocast in "
            "the term"
        ),
    ),
    "float64": (
        comparing(single),
        (
            "for inputs in float64 the value is torch.float32; leave out .float(), and convert constants to "
            "the dtype of the inputs"
        ),
    ),
    "state": (
        spec_of(Forgetful),
        (
            "the value is #, and # for a new term with its state; keep learnt values in parameters, and "
            "random ones in buffers: self.register_buffer()"
        ),
    ),
    "pickled": (
        spec_of(Improvised),
        re.compile(
            r"it cannot be pickled: \w+: .*lambda.*; "
            "keep no lambdas, local functions, generators, files or locks in attributes"
        ),
    ),
    "copied": (
        spec_of(Remembering),
        re.compile(
            r"it cannot be copied by copy.deepcopy: RuntimeError: Only Tensors created .*; "
            r"detach\(\) tensors that are kept from a call",
            re.DOTALL,
        ),
    ),
    "device": (
        spec_of(Rooted),
        (
            "self.curves['weights'][0], a tensor of shape [129, 1], stays where it is when the term is "
            "moved; make it a buffer by self.register_buffer(name, tensor, persistent=False)"
        ),
    ),
    "sync": (
        comparing(branching),
        (
            ".item(), a branch on a tensor, or a number made of one waits for the accelerator at each "
            "step; keep to tensors: torch.where(...) for a branch, a product with the mask for a "
            "selection"
        ),
    ),
    "compiled": (
        spec_of(Branched, waivers={}),
        "the value is #, and # compiled; let nothing depend on whether code is compiled",
    ),
    "weight_zero": (
        spec_of(Right, Stubborn),
        (
            "with weight = 0 the weight is 0.125 at a progress of 0.25; let weight_at be proportional to "
            "'weight'"
        ),
    ),
    "parameters": (
        spec_of(Learning),
        (
            "'factor' would be trained, and the term is not declared trained; let its config be a "
            "TrainedTermConfig and give it an objective, or freeze it by requires_grad_(False)"
        ),
    ),
    "objective": (
        spec_of(Deaf, **TRAINED),
        "it gives no gradient to 'bias'; let it depend on every parameter, or remove that one",
    ),
}


def test_every_check_is_proven():
    """Each check has a wrong term that proves it, and no check is listed twice."""
    assert list(WRONG) == NAMES
    assert all(check.__doc__ for check in CHECKS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_term_is_caught_by_its_check_alone(name):
    """A wrong term fails only the check that it is made for, and the message says what to do."""
    spec, message = WRONG[name]
    caught = failures(spec)
    assert list(caught) == [name]
    if isinstance(message, str):
        pattern = re.escape(message).replace(r"\#", r"-?\d[\d.e+-]*")
        message = re.compile(pattern.replace(PLACE, r"tests/support/checked_terms\.py:\d+"))
    assert message.fullmatch(caught[name]), caught[name]


@pytest.mark.parametrize(
    "spec", [spec_of(Right, waivers={}), spec_of(Judge, waivers={}, **TRAINED)], ids=["Right", "Judge"]
)
def test_a_right_term_passes(spec):
    """A corrected version of each wrong term passes, so the fault alone is what a check catches."""
    assert failures(spec) == {}
