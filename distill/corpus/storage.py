"""Write a file that is either whole or not there."""

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path`, sync it and rename it.

    The temporary name begins with a dot, so that a scan never takes it for a recording.

    Raises:
        OSError: It cannot be written; `path` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
