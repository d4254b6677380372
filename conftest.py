"""How the tests run: in which process, on how many threads, and with or without coverage."""

import gc
import os
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.machinery import ModuleSpec
from pkgutil import walk_packages
from types import ModuleType

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings
from xdist.scheduler import WorkStealingScheduling

UNMEASURED = (
    "plugins/",
    "tests/benchmarks/",
    "tests/comparison/test_browser.py",
    "tests/playing/test_browser.py",
    "tests/reporting/test_browser.py",
    "tests/test_commands.py",
    "tests/test_examples.py",
    "tests/test_python_page.py",
    "tests/testing/test_kit.py::test_every_built_in_term_passes",
)
"""The tests that run without coverage, which doubles the time that Python takes before 3.12.

They are those of plugins, of what the documentation shows, and of pages in a browser. What they run of
Distill has tests of its own.
"""


def _uncompiled(name):
    """Return a module whose decorators leave a function as it is."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    for decorator in ("jit", "njit", "stencil", "vectorize", "guvectorize"):
        setattr(module, decorator, _decorate)
    return module


def _decorate(*arguments, **_):
    """Return the function that is decorated, or a decorator that does."""
    return arguments[0] if arguments and callable(arguments[0]) else lambda function: function


@contextmanager
def _unmeasured():
    """Measure no coverage."""
    measured = Coverage.current()
    if measured is None or sys.gettrace() is None:
        yield
        return
    measured.stop()
    try:
        yield
    finally:
        measured.start()


# Otherwise numba compiles functions of librosa that no test calls, for half a minute in each process of a new
# environment: with auraloss, librosa only makes filters.
sys.modules["numba"] = _uncompiled("numba")

os.environ["OMP_NUM_THREADS"] = "1"  # of subprocesses

with _unmeasured():
    import torch

# Tiny models are slowed down by threads, and most of all where several processes test at once.
torch.set_num_threads(1)

# How fast an example is drawn or runs depends on what else the machine does.
settings.register_profile(
    "distill", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("distill")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process neighbouring tests, so that what a folder shares is made once and not in each."""
    if config.getvalue("dist") == "load":  # the default of `-n`
        return WorkStealingScheduling(config, log)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect without coverage, but import all of Distill with it first, since a module runs only once.

    What is made then lives until the end: looking for garbage among it would take half a second for nothing.
    """
    if session.config.option.dist == "no" and Coverage.current():
        import_module("distill")
        for module in walk_packages(sys.modules["distill"].__path__, "distill."):
            with suppress(ImportError):  # of an extra
                import_module(module.name)
    gc.disable()
    try:
        with _unmeasured():
            return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config, items):
    """Mark the tests that are not measured."""
    if config.pluginmanager.hasplugin("_cov"):
        for item in items:
            if item.nodeid.startswith(UNMEASURED):
                item.add_marker("no_cover")


def pytest_collection_finish():
    """Spare the garbage collector the modules and tests, half a million objects that live until the end."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _compiled_unmeasured(monkeypatch):
    """Measure no coverage within the compiler of torch, which takes twice as long when it is traced."""
    compiler = sys.modules.get("torch._dynamo.convert_frame")
    if compiler is None or sys.gettrace() is None:
        return
    compile_frame = compiler.CatchErrorsWrapper.__call__

    def unmeasured(*arguments, **options):
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return compile_frame(*arguments, **options)
        finally:
            sys.settrace(trace)
            _call()

    monkeypatch.setattr(compiler.CatchErrorsWrapper, "__call__", unmeasured)


def _call():
    """Do nothing: at a call, the tracer of coverage takes its place again, and sees the caller return."""
