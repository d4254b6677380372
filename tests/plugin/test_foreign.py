"""Tests of distill.plugin.foreign: a plugin changes nothing of the process that it is loaded into."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from distill.errors import TermError
from distill.plugin.foreign import ForeignCode, undisturbed
from distill.plugin.registry import Registry

PLUGIN = """
import os, signal, sys, torch
from distill import TermConfig, TermSpec, hookimpl

def change():
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    sys.stdout = sys.stderr = None

{at_import}

def build(config):
    {at_build}
    return torch.nn.Identity()

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="mine", config=TermConfig, build=build, summary="")
"""


def state():
    """Return what a plugin may not change."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    torch_state = torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled()
    return os.getcwd(), handlers, torch_state, sys.stdout, sys.stderr  # noqa: PTH109  # as chdir takes it


@pytest.mark.parametrize("when", ["at_import", "at_build"])
def test_what_a_plugin_changes_is_restored(install_only, when):
    """Working folder, signal handlers, streams and torch's defaults are restored after a plugin."""
    source = PLUGIN.format(**{"at_import": "", "at_build": "pass"} | {when: "change()"})
    install_only({"my-losses": ("mine", source)})
    before = state()
    try:
        (term,) = Registry().choose("mine")
        term.build(term.spec.config())
        assert state() == before
        # With a default device, if only the CPU, this would be an error.
        assert torch.as_tensor(torch.empty(1, device="meta")).device.type == "meta"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


@pytest.mark.parametrize("error", ["GeneratorExit", "KeyboardInterrupt", "SystemExit"])
def test_whatever_a_builder_raises_names_the_plugin(install_only, error):
    """Any exception of a builder becomes a TermError that names the term and the distribution."""
    install_only({"my-losses": ("mine", PLUGIN.format(at_import="", at_build=f"raise {error}"))})
    (term,) = Registry().choose("mine")
    with pytest.raises(TermError) as caught:
        term.build(term.spec.config())
    assert str(caught.value) == (
        f"mine (my-losses 1.5): the loss term cannot be built: {error}\n"
        "If its options are right, report this to the authors of my-losses."
    )


def test_a_ctrl_c_during_an_import_is_one(install_only):
    """Ctrl-C during an import is not taken for a fault of the plugin that is being imported."""
    source = PLUGIN.format(at_import="os.kill(os.getpid(), signal.SIGINT)", at_build="pass")
    install_only({"my-losses": ("mine", source)})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Registry().choose("mine")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_after_the_code_is_not_an_error_of_its_own():
    """A Ctrl-C just after a plugin was loaded stops the command, and the plugin is not called broken."""
    code = ForeignCode()
    with code:
        pass
    assert not code.raised_by_code(KeyboardInterrupt())


@pytest.mark.parametrize("in_thread", [False, True])
def test_what_a_call_changes_is_restored_in_the_main_thread(monkeypatch, tmp_path, in_thread):
    """Elsewhere it is left, since what another thread changes meanwhile would be undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    before, grad = state(), torch.is_grad_enabled()

    def call():
        with undisturbed():
            os.chdir("/")
            del sys.stdout
            torch.set_default_dtype(torch.float64)
            if not in_thread:
                signal.signal(signal.SIGINT, signal.SIG_DFL)

    try:
        if in_thread:
            with ThreadPoolExecutor() as threads:
                threads.submit(call).result()
            assert not hasattr(sys, "stdout")
            assert (str(Path.cwd()), torch.get_default_dtype()) == ("/", torch.float64)
        else:
            call()
            assert state() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(grad)
