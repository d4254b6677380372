"""What the tests of the page share: an instrument, and a page that is served."""

import gc
import shutil
import warnings
from contextlib import ExitStack, contextmanager

import pytest

from distill.inference import load
from distill.playing.instrument import Instrument
from distill.playing.play import served
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}`.wav"


@pytest.fixture(scope="session")
def instrument(played):
    """Return the instrument of a trained run."""
    return Instrument.open(played)


@pytest.fixture(scope="session")
def played(trained, tmp_path_factory):
    """Return a copy of the trained run for pages, with hostile names of the run and of a recording."""
    run = Run(tmp_path_factory.mktemp("played") / "<b>run<b> ${alert(1)}")
    shutil.copytree(trained.folder, run.folder)
    bank = load_state(run.latents)["latents"]
    save_state(run.latents, {"latents": {HOSTILE if name == "b.wav" else name: bank[name] for name in bank}})
    with pytest.MonkeyPatch.context() as patch:  # which takes a quarter of the time
        patch.setattr("distill.controls.axes._SECONDS", 0.2)
        patch.setattr("distill.controls.axes._SEEDS", 2)
        assert load(run.folder).axes
    (run.folder / "secret").symlink_to("/etc/passwd")
    return run


@pytest.fixture(scope="session")
def page(played):
    """Serve the page of the run."""
    pytest.importorskip("gradio", reason="needs the extra distill[play]")
    with ExitStack() as stack:
        with _leaks():
            page = stack.enter_context(served(played))
        yield page
        with _leaks():
            stack.close()


@contextmanager
def _leaks():
    """Let event loops be collected that Gradio leaves open, without the warnings that fail other tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()
