"""Tests of distill.plugin.homes: which plugin of ours a term belongs to, though it is not installed."""

import importlib
from pathlib import Path

import pytest

from distill.plugin.homes import home_of

PLUGINS = sorted((Path(__file__).parents[2] / "plugins").iterdir())


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_the_terms_of_every_plugin_are_known(folder, monkeypatch):
    """Each term that a plugin's hook yields leads to the distribution its folder is named after."""
    monkeypatch.syspath_prepend(folder)
    plugin = importlib.import_module(folder.name.replace("-", "_"))
    assert {home_of(name) for spec in plugin.distill_loss_terms() for name in spec.names} == {folder.name}


def test_other_terms_have_no_home():
    """Built-in terms and terms of third parties lead to no distribution."""
    assert {home_of(name) for name in ("stft", "recon", "mine", "auraloss")} == {None}
