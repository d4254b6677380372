"""Tests of distill.training.devices: where a run is computed."""

import os

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from distill.config.settings import TrainingSettings
from distill.errors import ConfigError
from distill.training.devices import make_accelerator, without_launcher_environment


@pytest.fixture
def _fresh_process():
    """Let a test choose a precision, which Accelerate allows once in a process."""
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as Accelerate's own tests do
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as above


@pytest.mark.usefixtures("_fresh_process")
@pytest.mark.parametrize(
    ("precision", "capabilities", "expected"),
    [
        ("auto", {"avx512_bf16": True}, "bf16"),
        ("auto", {"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ("auto", {"avx2": True}, "no"),
        ("float32", {"avx512_bf16": True}, "no"),
        ("bfloat16", {"avx2": True}, "bf16"),
    ],
)
def test_the_precision_of_the_model_on_a_cpu(monkeypatch, precision, capabilities, expected):
    """It is float32 unless the CPU computes in bfloat16, or bfloat16 is asked for."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    accelerator = make_accelerator(TrainingSettings(device="cpu", precision=precision))
    assert accelerator.device.type == "cpu"
    assert accelerator.mixed_precision == expected


@pytest.mark.usefixtures("_fresh_process")
def test_the_environment_changes_no_gradient(monkeypatch):
    """Variables with which Accelerate is configured elsewhere do not apply, and stay as they are."""
    surroundings = {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "fp16",
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_DYNAMO_BACKEND": "eager",
        "ACCELERATE_TORCH_DEVICE": "meta",
    }
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    accelerator = make_accelerator(TrainingSettings(device="cpu", precision="float32"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "neither true nor false")
    with without_launcher_environment():
        accelerator.prepare_model(torch.nn.Linear(1, 1))
    weight = torch.ones((), requires_grad=True)
    accelerator.backward(3 * weight)
    assert weight.grad == 3
    assert (accelerator.device.type, accelerator.mixed_precision) == ("cpu", "no")
    assert accelerator.state.dynamo_plugin.backend.value == "NO"
    assert {name: os.environ[name] for name in surroundings} == surroundings


@pytest.mark.usefixtures("_fresh_process")
def test_processes_that_are_not_there(monkeypatch):
    """The message names what is missing where only a part of torchrun's variables is set."""
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as caught:
        make_accelerator(TrainingSettings(device="cpu"))
    assert str(caught.value) == (
        "the environment describes several processes, and they cannot be joined: Tried to launch on "
        "distributed with multinode, but `MASTER_ADDR` env was not set, please try exporting rank 0's "
        "hostname as `MASTER_ADDR`\nStart them with torchrun, or unset WORLD_SIZE to train in one process."
    )


def test_a_device_that_is_not_there(monkeypatch):
    """The message names the device that is missing and those that the machine has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        make_accelerator(TrainingSettings(device="mps"))
    assert str(caught.value) == ("training.device: this machine has no 'mps'; expected one of auto, cpu")


def test_processes_share_a_step_evenly(monkeypatch):
    """A step whose clips cannot be divided among the processes is refused with a message."""
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(ConfigError) as caught:
        make_accelerator(TrainingSettings(device="cpu", precision="float32", batch_size=8))
    assert str(caught.value) == (
        "training.batch_size: must be a multiple of the number of processes, 3, got 8"
    )
    make_accelerator(TrainingSettings(device="cpu", precision="float32", batch_size=3))
