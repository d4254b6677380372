"""Where a training run is computed: the device, the precision and the processes."""

import atexit
import gc
import importlib
import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from distill.errors import ConfigError
from distill.settings import TrainingSettings


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Choose the device and the precision, within a process group where torchrun started one.

    Raises:
        ConfigError: the device that is asked for is not there, or the processes cannot share a step evenly.
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
    if "LOCAL_RANK" in os.environ:  # what tells an accelerator of a process group
        # Distributed modules load it, and if the group exists by then, it keeps that for ever.
        importlib.import_module("torch._dynamo")
    else:
        _let_choose_again(on_cpu=on_cpu, precision=precision)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=precision)
    if accelerator.num_processes > 1:
        atexit.register(_end_process_group, accelerator.state)
    # The mean of the processes' means is the mean over the step's clips where their shares are equal.
    if settings.batch_size % accelerator.num_processes:
        raise ConfigError(
            "training.batch_size: must be a multiple of the number of processes, "
            f"{accelerator.num_processes}, got {settings.batch_size}"
        )
    return accelerator


def _cpu_has_bfloat16() -> bool:
    """Tell whether the CPU multiplies matrices of bfloat16; others only store it, and are slower in it."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has none
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _let_choose_again(*, on_cpu: bool, precision: str) -> None:
    """Let Accelerate choose another device or precision than it did before in this process.

    It keeps its first choice in class attributes and refuses another one. These are replaced, not emptied:
    an accelerator that was made before, here or by the user, keeps what it holds.
    """
    device = PartialState._shared_state.get("device")  # noqa: SLF001  # there is no public way
    chosen = AcceleratorState._shared_state.get("_mixed_precision", precision)  # noqa: SLF001  # as above
    if (device is not None and (device.type == "cpu") != on_cpu) or chosen != precision:
        PartialState._shared_state = {}  # noqa: SLF001  # as above
        AcceleratorState._shared_state = {}  # noqa: SLF001  # as above


def _end_process_group(state: AcceleratorState) -> None:
    """End the threads of the process group while Python lives.

    One that still lets go of a tensor while the interpreter ends aborts the process, though it is done:
    pytorch issue 190489.
    """
    state.destroy_process_group()
    gc.collect()  # what was prepared by the accelerator holds the group, too
