"""What the tests of the command line have in common."""

import shutil

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Be in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def only_built_in(monkeypatch):
    """Let only the built-in terms be installed, whatever else is."""
    monkeypatch.setattr("distill.plugin.selection.entry_points", lambda **_: [])


@pytest.fixture(scope="session")
def bare(trained, tmp_path_factory):
    """Copy the trained run without what two of the baselines need; not to be changed."""
    run = tmp_path_factory.mktemp("bare") / "run"
    shutil.copytree(trained.folder, run)
    (run / "baselines.safetensors").unlink()
    return run
