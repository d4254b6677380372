"""The device, precision and processes of a training run."""

import atexit
import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from distill.config.settings import TrainingSettings
from distill.errors import ConfigError
from distill.system.stopping import bounded_wait

_LAUNCHER_VARIABLES = "ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_"
"""The prefixes of environment variables in which Accelerate finds what it is not passed."""

_PROCESSES = (
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
)


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Return an accelerator with the device and precision of the settings, in torchrun's process group.

    Raises:
        ConfigError: the requested device is not available, the batch size is not a multiple of the number of
            processes, or the environment describes processes that are not there.
    """
    there = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[settings.device]:
        names = ", ".join(name for name, usable in there.items() if usable)
        raise ConfigError(
            f"training.device: this machine has no {settings.device!r}; expected one of {names}"
        )
    on_cpu = settings.device == "cpu" or not (there["cuda"] or there["mps"])
    reduced = settings.precision == "bfloat16" or (
        settings.precision == "auto" and (_cpu_has_bfloat16() if on_cpu else there["cuda"])
    )
    precision = "bf16" if reduced else "no"
    if "LOCAL_RANK" in os.environ:  # set by torchrun
        # Distributed modules import it. Imported after the group exists, it would keep the group alive.
        importlib.import_module("torch._dynamo")
    else:
        _let_choose_again(on_cpu=on_cpu, precision=precision)
    with without_launcher_environment(), bounded_wait():
        accelerator = _accelerator(on_cpu=on_cpu, precision=precision)
    if accelerator.num_processes > 1:
        atexit.register(_end_process_group, accelerator.state)
    # The mean of the processes' means is the mean over the batch only if they have equally many clips.
    if settings.batch_size % accelerator.num_processes:
        raise ConfigError(
            "training.batch_size: must be a multiple of the number of processes, "
            f"{accelerator.num_processes}, got {settings.batch_size}"
        )
    return accelerator


def _accelerator(*, on_cpu: bool, precision: str) -> Accelerator:
    before = [name for name in _PROCESSES if name in os.environ]
    try:
        return Accelerator(cpu=on_cpu, mixed_precision=precision)
    except (ValueError, RuntimeError) as error:
        for name in {*_PROCESSES} - {*before}:  # which Accelerate has set meanwhile
            os.environ.pop(name, None)
        if not before:
            raise
        raise ConfigError(
            f"the environment describes several processes, and they cannot be joined: {error}\n"
            f"Start them with torchrun, or unset {', '.join(before)} to train in one process."
        ) from error


@contextmanager
def without_launcher_environment() -> Iterator[None]:
    """Hide the environment variables of Accelerate in the context: the recipe alone decides what is computed.

    With ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4, for one, gradients would be a quarter of what they are.
    """
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(_LAUNCHER_VARIABLES)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _cpu_has_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 matrix instructions. Without them, bfloat16 is slower."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older torch
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _let_choose_again(*, on_cpu: bool, precision: str) -> None:
    """Let Accelerate choose another device or precision than earlier in this process.

    Accelerate keeps its first choice in class attributes and refuses another one. The attributes are
    replaced, not cleared, so that existing accelerators keep their state.
    """
    device = PartialState._shared_state.get("device")  # noqa: SLF001  # there is no public way
    chosen = AcceleratorState._shared_state.get("_mixed_precision", precision)  # noqa: SLF001  # as above
    if (device is not None and (device.type == "cpu") != on_cpu) or chosen != precision:
        PartialState._shared_state = {}  # noqa: SLF001  # as above
        AcceleratorState._shared_state = {}  # noqa: SLF001  # as above


def _end_process_group(state: AcceleratorState) -> None:
    """End the threads of the process group before the interpreter exits.

    A thread that releases a tensor during interpreter shutdown aborts the process (pytorch issue 190489).
    """
    state.destroy_process_group()
    gc.collect()  # objects prepared by the accelerator hold the group, too
