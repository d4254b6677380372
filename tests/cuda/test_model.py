"""Tests of the model on CUDA: that it gives what the CPU gives, and needs the memory that is expected."""

import pytest
import torch
from on_cuda import CUDA, assert_near, noise

import distill as api
from distill.config.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.model.building import make_model
from distill.model.initialization import initialize_axes
from distill.model.memory import Sizes
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF
from distill.training.batches import predict

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def models(**options):
    """Make one model twice, on the CPU and on CUDA, its weights those of one seed."""
    representation = MagnitudeIF()
    settings = ModelSettings(**options)
    return [make_model(settings, representation, 0).eval().to(device) for device in ("cpu", CUDA)]


@pytest.mark.parametrize("code", ["rich", "compact"])
def test_the_model_is_the_cpus(code):
    """Encoding, decoding and reconstruction give the results of the CPU; the sound comes back to it."""
    representation = MagnitudeIF()
    waveform = 0.1 * noise(1, 40_000)
    spectrogram = representation(waveform)
    results = []
    for vae in models(code=code):
        with torch.no_grad():
            mu, logvar = vae.encode(spectrogram.to(vae.device))
            decoded = vae.decode(mu, spectrogram.shape[-1])[:, 0]
            sound = vae.sound(mu, representation, 40_000, 0)
        results.append((mu, logvar, decoded, sound))
    for share, one, other in zip((1e-4, 1e-4, 1e-4, 1e-2), results[1], results[0], strict=True):
        assert_near(one, other, share)
    made = reconstruct(models(code=code)[1], representation, waveform, refinements=2)
    assert (made.device.type, made.shape) == ("cpu", waveform.shape)
    assert made.isfinite().all()


def test_a_compact_code_begins_with_its_axes():
    """The axes of a compact code are found on the CPU and come first."""
    vae = models(code="compact")[1]
    representation = MagnitudeIF()
    initialize_axes(vae, representation((0.1 * noise(8, 30_000)).to(CUDA)))
    assert vae.axes.begun
    assert vae.axes.inwards.weight.isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_is_estimated_from_below(monkeypatch, precision):
    """A recipe is not refused on a device that holds what a step needs there."""
    representation = MagnitudeIF().to(CUDA)
    vae = make_model(ModelSettings(), representation, 0).to(CUDA).requires_grad_()
    optimizer = torch.optim.AdamW(vae.parameters(), fused=True)
    waveform = 0.1 * noise(8, 40_000).to(CUDA)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):  # the optimizer's averages are there from the second step on
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            inputs = predict(vae, representation, waveform, None, iterations=0, progress=0.0)
        inputs.prediction.sources[0].square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    needed = torch.cuda.max_memory_allocated()
    monkeypatch.setattr("distill.model.memory.machine_memory", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed, needed))
    Sizes(ModelSettings(), RepresentationSettings()).require_training(TrainingSettings(batch_size=8))


def test_a_loaded_model_is_used_there(recordings, tiny_options, tmp_path):
    """What it makes on CUDA is what it makes on the CPU, and comes back to the device of its input."""
    options = {**tiny_options, "training.device": "cuda"}
    run = api.train(recordings, loss="stft,recon,kl", options=options, steps=2, out=tmp_path / "run")
    there, here = (api.load(run, device=device) for device in ("cuda", "cpu"))
    assert there.device == CUDA
    waveform = 0.1 * noise(2, 4000)
    assert_near(there.reconstruct(waveform), here.reconstruct(waveform), 1e-2)
    assert there.reconstruct(waveform.to(CUDA)).device == CUDA
    assert_near(there.encode(waveform), here.encode(waveform), 1e-3)
    assert_near(there.generate(1, seed=0)[0], here.generate(1, seed=0)[0], 1e-2)
    ratings = [model.evaluate(recordings / "a.wav", visqol=False).mean for model in (there, here)]
    assert ratings[0].mel == pytest.approx(ratings[1].mel, abs=0.05)
