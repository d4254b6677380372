"""The files of checkpoints by their steps. Loads no torch."""

import os
import re
from contextlib import suppress
from pathlib import Path

from distill.errors import RunError

_CHECKPOINT = re.compile(r"step-(\d+)\.safetensors")


def checkpoint_paths(folder: Path) -> dict[int, Path]:
    """Return the checkpoints of a folder by step, oldest first. A missing folder has none.

    Raises:
        RunError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            paths = [folder / entry.name for entry in entries]
    except FileNotFoundError:
        paths = []
    except OSError as error:
        raise RunError(
            f"the checkpoints cannot be listed: {error.strerror}",
            culprit=str(folder),
            remedy="Make sure that it is a folder that you may read.",
        ) from error
    named = ((_CHECKPOINT.fullmatch(path.name), path) for path in paths)
    return dict(sorted((int(match[1]), path) for match, path in named if match))


def step_reached(folder: Path, recorded: int) -> int:
    """Return the step that a run has reached: that of its last record, or of its newest checkpoint if later.

    A run that was interrupted is saved at a step between two records.
    """
    with suppress(RunError):
        return max(recorded, *checkpoint_paths(folder), 0)
    return recorded
