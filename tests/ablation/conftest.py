"""One tiny ablation that the tests share."""

from types import SimpleNamespace

import pytest

from distill.ablation.ablate import ablate


@pytest.fixture(scope="session")
def shared(tmp_path_factory, recordings, tiny_options):
    """Return how to call `ablate` for three tiny runs, and a folder in which these are done."""
    folder = tmp_path_factory.mktemp("ablation") / "out"
    call = {
        "corpus": recordings,
        "loss": "stft,recon",
        "each": True,
        "seeds": 1,
        "steps": 2,
        "options": tiny_options,
    }
    told = []
    found = ablate(**call, out=folder, on_progress=told.append)
    return SimpleNamespace(call=call, folder=folder, found=found, told=told)
