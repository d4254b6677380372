"""A plugin written against the first contract works unchanged: its text here stays as it is."""

import pytest
import torch

from distill import LossInputs, MagnitudeIF, Posterior, Registry, Signal, compose
from distill.testing import check_term, loss_inputs

PROJECT = """
[project]
name = "distill-first"
version = "1.0"

[project.entry-points.distill]
first = "distill_first"
"""
MODULE = '''
"""Compare the energy of two sounds band by band."""
import torch
from attrs import field, frozen, validators as v
from torch import Tensor, nn
from distill import LossInputs, TermConfig, TermSpec, hookimpl
from distill.views import Stft

@frozen(kw_only=True)
class BandEnergyConfig(TermConfig):           # TermConfig brings `weight` and `schedule`
    bands: int = field(default=8, validator=v.ge(1), metadata={"help": "frequency bands"})
    stft: Stft = Stft(n_fft=1024, hop=256)

class BandEnergy(nn.Module):
    def __init__(self, config: BandEnergyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:       # or dict[str, Tensor] of parts
        prediction, target = inputs.view(self.config.stft) # complex [B, F, T], shared by all terms
        return (self._log_energy(prediction) - self._log_energy(target)).abs().mean()

    def _log_energy(self, spectrum: Tensor) -> Tensor:
        bands = spectrum.abs().square().tensor_split(self.config.bands, dim=-2)
        return torch.stack([band.mean(dim=-2) for band in bands]).add(1e-8).log()

@frozen(kw_only=True)
class PartsConfig(TermConfig):
    pass

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="first_band_energy", config=BandEnergyConfig, build=BandEnergy,
                   summary="energy per frequency band")
    yield TermSpec(name="first_parts", config=PartsConfig, build="distill_first_parts:Parts",
                   summary="parts", aliases=("fp",))
    yield TermSpec(name="first_last", config=PartsConfig, build="distill_first_parts:Last",
                   summary="called last", last=True)
'''
PARTS = '''
"""Terms that are imported when they are used: a view of their own, the posterior, parts, and `unshared`."""
from attrs import frozen
from torch import nn
from distill.views import (
    InstantaneousFrequency, LogMagnitude, Magnitude, Spectrogram, Stft, StftMagnitude, View, Waveform
)

@frozen
class Loudness(View):
    def compute(self, signal):
        return signal.view(Magnitude()).square().mean(dim=(-2, -1))

class Parts(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, inputs):
        one, other = inputs.view(Loudness())
        assert 0 <= inputs.progress <= 1
        assert inputs.prediction.view(Spectrogram()).shape[1] == 2
        for view in (LogMagnitude(), InstantaneousFrequency(), Waveform(), StftMagnitude(n_fft=256, hop=64)):
            inputs.view(view)
        spread = inputs.posterior.mu.square() + inputs.posterior.logvar.exp()
        return {"loudness": (one - other).abs().mean(), "spread": 0.01 * spread.mean()}

class Last(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, inputs):
        view = Stft(n_fft=128, hop=32, win_length=128)
        assert inputs.unshared(view)
        one, other = inputs.view(view)
        return (one - other).abs().mean()
'''


@pytest.fixture
def first(tmp_path, install, monkeypatch):
    """Install that plugin from its folder, and return its module."""
    plugin = tmp_path / "distill-first"
    plugin.mkdir()
    for name, text in (("pyproject.toml", PROJECT), ("distill_first.py", MODULE)):
        (plugin / name).write_text(text)
    (plugin / "distill_first_parts.py").write_text(PARTS)
    install(plugin)
    monkeypatch.syspath_prepend(plugin)
    return plugin


@pytest.mark.usefixtures("first")
@pytest.mark.filterwarnings("ignore:.*will be removed in 0.4.0:DeprecationWarning")
def test_it_is_composed_checked_and_trained(distill, recordings, tiny, tmp_path):
    """The plugin's terms work in a loop of one's own, in the kit and in a command."""
    options = {"first_band_energy.bands": 16, "stft.weight": 2.0}
    loss = compose("stft,recon,kl,distill-first:first_band_energy,fp,first_last", options)
    assert loss.config.first_band_energy.bands == 16
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    waveform = 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    spectrogram = (0.9 * representation(waveform)).requires_grad_()
    mu, logvar = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 4)
    inputs = LossInputs(
        prediction=Signal.from_spectrogram(spectrogram, representation),
        target=Signal.from_waveform(waveform, representation),
        posterior=Posterior(mu=mu, logvar=logvar),
        progress=0.3,
    )
    components = loss(inputs)
    components["total"].backward()
    assert spectrogram.grad.isfinite().all()
    assert components["first_parts/spread"].item() == pytest.approx(0.01)
    check_term(*Registry().choose("distill-first:first_band_energy"))
    words = ("--loss", "recon,kl,first_band_energy,fp", "--set", "loss.fp.weight=0.5", *tiny, "--steps", 1)
    result = distill("train", recordings, *words, "--out", tmp_path / "run")
    assert (result.status, result.err) == (0, "")
    assert 'first_parts = "distill-first 1.0"' in (tmp_path / "run" / "recipe.toml").read_text()


@pytest.mark.usefixtures("first")
def test_what_is_deprecated_in_it_warns():
    """Deprecated uses go on working, and warn of the version that removes them and the remedy."""
    with pytest.warns(DeprecationWarning, match="removed") as warned:
        compose("first_last,stft")(loss_inputs())
    assert {str(each.message).partition(" and will be removed in 0.4.0; ")[::2] for each in warned} == {
        (
            "TermSpec(last=True) of the term 'first_last' is deprecated",
            "leave it out, the composer orders the terms",
        ),
        ("LossInputs.unshared is deprecated", "views are computed once"),
    }
