"""`distill.play`, which the command line also calls."""

import os
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from attrs import evolve

from distill.arguments import optional_callable, whole_number
from distill.audio.progress import Progress
from distill.playing.guard import Application
from distill.playing.instrument import Instrument
from distill.playing.requirements import require_playable
from distill.playing.server import Served, serving
from distill.storage.run import Run, run_of
from distill.system.threads import one_thread

StrPath: TypeAlias = str | os.PathLike[str]


def play(
    run: Run | StrPath,
    *,
    port: int | None = None,
    open_browser: bool = True,
    on_served: Callable[[Served], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Serve a page to make and play sounds of a training run, until Ctrl-C.

        distill.play("runs/first")

    The page has sliders along the axes of the run, a map of its recordings, morphs, variations and random
    sounds. Sounds can be kept, saved as presets in the run folder, and downloaded. The page is served on the
    loopback address, and loads nothing from a network. `docs/play.md` describes it.

    Args:
        run: the value returned by `distill.train`, or the path of a run folder. If the run is not finished,
            its last checkpoint is used.
        port: the port of the server. Default: 7860, or the next free one.
        open_browser: open the page in a browser.
        on_served: called with the address of the page when it can be opened.
        on_progress: called with a `Progress` of the stage `axes` while the axes of the run are measured. That
            is before the page is served, and only if they are not in the run folder yet.

    Raises:
        RunError: the folder is not a run, or holds no model yet.
        InputError: the extra `distill[play]` is not installed, the port cannot be used, or an argument is
            invalid.
    """
    run = run_of(run)
    if port is not None:
        port = whole_number(port, culprit="port", least=1, below=2**16)
    on_progress = optional_callable(on_progress, culprit="on_progress")
    with served(run, port=port, on_progress=on_progress or (lambda _: None)) as page:
        if on_served is not None:
            on_served(page)
        if open_browser:
            webbrowser.open(page.url)
        try:
            while True:  # a signal that comes just before a wait is handled after it
                time.sleep(0.5)
        except KeyboardInterrupt:
            return


@contextmanager
def served(
    run: Run, *, port: int | None = None, on_progress: Callable[[Progress], None] = lambda _: None
) -> Iterator[Served]:
    """Serve the page of a run while the context lasts. `on_progress` is as in `play`.

    Raises:
        RunError: the folder is not a run, or holds no model yet.
        InputError: the extra `distill[play]` is not installed, or the port cannot be used.
    """
    require_playable(run)
    instrument = Instrument.open(run)

    def make(files: Path) -> Application:
        from distill.playing.page import make_page  # noqa: PLC0415  # imports Gradio, in a quiet environment

        instrument.measure_axes(on_progress)
        return make_page(instrument, files)

    # The sounds last a second or so: on two cores, two threads take twice the processor time for the same
    # answer, which the browser needs.
    with one_thread(), serving(make, port=port) as page:
        yield evolve(page, note=instrument.note)
