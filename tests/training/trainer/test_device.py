"""Tests of distill.training.trainer: a step reads no value on its device, and mixes no devices.

They run on torch's meta device: its tensors have no values, and operations refuse them beside tensors of the
CPU. What fails there would let the host wait for a GPU, or fail on one.
"""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator

META = torch.device("meta")


class AdamW(torch.optim.AdamW):
    """AdamW without its fused implementation, which the meta device does not have, and so without skips."""

    def __init__(self, *arguments, fused, **options):
        super().__init__(*arguments, **options)
        assert fused

    @property
    def found_inf(self):
        """None, as of other implementations."""
        return None

    @found_inf.setter
    def found_inf(self, skipped):
        assert skipped.device == META


@pytest.fixture
def on_meta(monkeypatch):
    """Let trainers compute on the meta device, for which torch has no autocast and no fused optimizer."""
    monkeypatch.setattr(Accelerator, "device", META)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.optim, "AdamW", AdamW)


@pytest.mark.parametrize(
    ("use", "refused"),
    [
        (float, "cannot be called on meta tensors"),
        (torch.Tensor.tolist, "Cannot copy out of meta tensor"),
        (lambda value: torch.stack([value, torch.zeros(())]), "Tensor on device cpu is not on"),
    ],
)
def test_the_meta_device_refuses(use, refused):
    """Without this the test of a step would prove nothing."""
    with pytest.raises((RuntimeError, NotImplementedError), match=refused):
        use(torch.ones((), device=META))


@pytest.mark.parametrize(
    ("latents", "options"),
    [
        (10_000, {"encoder_rate": 0.0}),  # all of the code, kept: the posterior has no gradient
        (250, {"encoder_rate": 1.0, "nonfinite": "skip", "balance": "gradient"}),
    ],
    ids=["code kept", "balanced"],
)
@pytest.mark.usefixtures("on_meta")
def test_a_step_reads_no_value_and_mixes_no_devices(make, latents, options):
    """A step runs on the meta device, with and without measured gradients of the terms."""
    trainer = make(model={"latents_per_second": latents}, steps=10, **options)
    trainer.model = trainer.vae  # as at the beginning of a training run
    assert trainer.vae.device == META
    for evaluations in (1, 3):  # the gradients are measured in the first step, and after one evaluation
        trainer._take_step()  # noqa: SLF001  # the step alone
        trainer.health.evaluated(evaluations)
    trainer._take_step()  # noqa: SLF001  # as above
    assert trainer.step == 3
