"""The error of a training run of several processes of which another one has ended."""

import re
import shlex

import torch
from accelerate import Accelerator

from distill.errors import TrainingError
from distill.storage.checkpoint_files import checkpoint_paths
from distill.storage.run import Run

_GLOO = re.compile(r"gloo/transport/.*(Connection closed by peer|Connection reset by peer|Broken pipe)")
"""What Gloo says of a connection that the other process no longer holds, in a plain `RuntimeError`."""

_NCCL = "ncclRemoteError"
_STORE = "Did the remote server shutdown or crash?"


def is_of_a_lost_process(error: BaseException) -> bool:
    """Return whether torch raised an error since another process of the group has ended.

    Errors of a process that does not answer, or that sends something else than expected, are not among these.
    """
    said = str(error)
    if isinstance(error, torch.distributed.DistNetworkError):
        return _STORE in said
    if isinstance(error, torch.distributed.DistBackendError):
        return _NCCL in said
    return isinstance(error, RuntimeError) and _GLOO.search(said) is not None


def lost_process(error: Exception, run: Run, accelerator: Accelerator) -> TrainingError | None:
    """Return a message about the other process that has ended, or None if that is not the error."""
    if not is_of_a_lost_process(error):
        return None
    count = accelerator.num_processes
    steps = [*checkpoint_paths(run.checkpoints)]
    saved = f"The state of step {steps[-1]} is saved." if steps else "Nothing was to be saved yet."
    command = f"distill train --resume --out {shlex.quote(str(run.folder))}"
    return TrainingError(
        f"another of the {count} processes of this training run has ended",
        culprit=f"process {accelerator.process_index}",
        remedy="Its own output says why, unless it was killed.\n"
        f"{saved} Go on from there with {count} processes again: {command}",
    )
