"""A process that trains runs of an ablation: `python -m distill.ablation.worker FOLDER [RECORDINGS]`.

It reads a request as a line of JSON from standard input, the name of a run, and answers on standard output
with a line: null when the run is trained and measured, or the message of the error. When its standard
input ends, because the process that started it has stopped or was killed, it saves and ends.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from distill.ablation.folder import AblationFolder
from distill.errors import DistillError


def execute(
    folder: AblationFolder, name: str, recordings: str | None, tick: Callable[[], None] = lambda: None
) -> str | None:
    """Train and measure a run; return None, or the message of the error, which is written to the folder."""
    if not folder.pending([name]):  # another job of a cluster has been at it
        return None
    from distill.ablation.training import train_and_measure  # noqa: PLC0415  # torch

    try:
        train_and_measure(folder, name, recordings, tick)
    except DistillError as error:
        folder.record_failure(name, str(error))
        return str(error)
    except Exception as error:  # noqa: BLE001  # a bug of ours or of a plugin, which ends no other run
        return _record_bug(folder, name, error)
    return None


def _record_bug(folder: AblationFolder, name: str, error: Exception) -> str:
    """Write the traceback of an error to the folder, and return a message that names it."""
    message = f"{type(error).__name__}: {error} (the traceback is in {folder.log(name)})"
    folder.record_failure(name, message, "".join(traceback.format_exception(error)))
    return message


def main(folder: str, recordings: str | None = None) -> None:
    """Answer requests until standard input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what plugins print is no answer
        with suppress(KeyboardInterrupt):  # the run is saved
            _answer(AblationFolder(Path(folder)), recordings, answers)


def _answer(folder: AblationFolder, recordings: str | None, answers: TextIO) -> None:
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        failure = execute(folder, requests.get(), recordings)
        answers.write(f"{json.dumps(failure)}\n")
        answers.flush()


def _listen(requests: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGTERM)  # a training run saves; between runs, the process ends


if __name__ == "__main__":
    main(*sys.argv[1:])
