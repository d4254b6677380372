"""The code that the README shows is the code; its commands are run in test_commands."""

import ast
import re
from pathlib import Path

import torch

from distill import MagnitudeIF

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_plugin_shown_is_the_plugin_shipped():
    """The term in the README is the one in plugins/distill-band-energy, and so is its entry point."""
    shown = next(block for language, block in BLOCKS if language == "python" and "BandEnergy" in block)
    shipped = ROOT / "plugins" / "distill-band-energy"
    module = (shipped / "distill_band_energy.py").read_text(encoding="utf-8")
    assert ast.unparse(ast.parse(shown)) == ast.unparse(ast.parse(module))
    toml = next(block for language, block in BLOCKS if language == "toml")
    assert toml.strip() in (shipped / "pyproject.toml").read_text(encoding="utf-8")


def test_the_loop_shown_runs():
    """The lines on a loop of one's own run as they stand, and give gradients."""
    shown = next(block for language, block in BLOCKS if language == "python" and "compose(" in block)
    waveform = torch.randn(2, 8192, generator=torch.Generator().manual_seed(0))
    spectrogram = MagnitudeIF()(waveform * 0.5).requires_grad_()
    mu, logvar = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    names = {"waveform": waveform, "spectrogram": spectrogram, "mu": mu, "logvar": logvar}
    exec(shown, names)  # noqa: S102  # our own README
    assert {"total", "stft", "reconstruction", "kl"} <= names["components"].keys()
    assert all(value.grad_fn is None for name, value in names["components"].items() if name != "total")
    assert spectrogram.grad.isfinite().all()
    assert spectrogram.grad.abs().sum() > 0


def test_the_loop_on_waveforms_shown_runs():
    """The loop on waveforms runs with the term that the README shows, which is not installed."""
    blocks = [block for language, block in BLOCKS if language == "python"]
    (shown,) = (block for block in blocks if "loss(prediction, target" in block)
    names = {"__name__": "shown"}
    exec(next(block for block in blocks if "BandEnergy" in block), names)  # noqa: S102  # our own README
    (names["spec"],) = names["distill_loss_terms"]()
    prediction, names["target"] = 0.1 * torch.randn(2, 2, 8192, generator=torch.Generator().manual_seed(0))
    names["prediction"] = prediction.requires_grad_()
    exec(f"from distill import compose\n{shown}", names)  # noqa: S102  # our own README
    assert {"total", "waveform", "reconstruction", "band_energy"} <= names["components"].keys()
    assert prediction.grad.isfinite().all()
