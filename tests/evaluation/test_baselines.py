"""Baselines answer as they say, and know of a corpus what an independent calculation finds in it."""

import math

import attrs
import numpy as np
import pytest
import torch

from distill.audio.corpus import Recording, Split
from distill.config.settings import ModelSettings
from distill.evaluation import baselines, log_spectral_distance
from distill.evaluation.baselines import (
    ceiling,
    components_per_frame,
    linear_code,
    mean_spectrum_baseline,
    measure_recordings,
    silence,
)
from distill.model.building import make_model
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=64, hop=16)


def split(*waveforms):
    """Make a split of waveforms `[C, N]`."""
    recordings, samples, offset = [], [], 0
    for number, waveform in enumerate(waveforms):
        channels, frames = waveform.shape
        recordings.append(Recording(f"{number}.wav", channels, frames, offset, str(number)))
        samples.append(waveform.T.flatten().numpy())
        offset += waveform.numel()
    return Split(tuple(recordings), RATE, np.concatenate(samples))


def frames(*waveforms):
    """List the frames of all channels of waveforms, log-magnitude and IF: `[T, 2, F]`."""
    return torch.cat([REPRESENTATION(waveform).permute(0, 3, 1, 2).flatten(0, 1) for waveform in waveforms])


def projector(directions):
    """Return the matrix that projects to directions: what they are, whatever their signs and order."""
    return directions @ directions.T


@pytest.fixture(scope="module")
def vae():
    """Make a model of 60 numbers per second, 1 in each latent frame of 8 frames."""
    sizes = attrs.evolve(
        ModelSettings(), width=8, fine_width=8, latents_per_second=250, encoder_blocks=(0, 1),
        decoder_blocks=(1, 0),
    )  # fmt: skip
    return make_model(sizes, REPRESENTATION, seed=0)


def noise(*shape, seed=0):
    """Draw white noise of RMS 0.1."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_silence_answers_silence():
    """The baseline has the shape of its input."""
    assert torch.equal(silence(noise(2, 3000)), torch.zeros(2, 3000))


@pytest.mark.parametrize("samples", [1, 100, 1000])
def test_the_mean_spectrum_fills_any_length(samples):
    """The baseline answers an input of any length and number of channels with as much sound."""
    representation = MagnitudeIF(8000, n_fft=64, hop=16)
    sound = mean_spectrum_baseline(torch.rand(2, 33), representation)(noise(2, samples))
    assert sound.shape == (2, samples)


def test_the_mean_spectrum_is_a_steady_sound():
    """One bin without deviation from its centre is a sine there: bin 8 of 64 at 8000 Hz is 1000 Hz."""
    representation = MagnitudeIF(8000, n_fft=64, hop=16)
    mean_frame = torch.zeros(2, 33)
    mean_frame[0, 8] = representation.log_magnitude(torch.tensor(0.5))
    sound = mean_spectrum_baseline(mean_frame, representation)(noise(2, 1000))
    # A sine of amplitude 1 has 1 in its bin and 1/2 in both neighbours. Without those, half of it is
    # left, times the sum of a Hann window over that of its square, 4/3: 0.5 / 2 * 4 / 3 = 1/3.
    expected = torch.cos(2 * math.pi * 1000 * torch.arange(1000) / 8000) / 3
    torch.testing.assert_close(sound[:, 64:-64], expected[64:-64].expand(2, -1), atol=1e-4, rtol=0)


def test_statistics_are_those_of_the_frames():
    """The mean frame and the principal directions equal numpy's, over all channels of all recordings."""
    waveforms = noise(1, 3000), noise(2, 1000, seed=1).cumsum(dim=1) / 10
    found = measure_recordings(split(*waveforms), REPRESENTATION, 5)
    expected = frames(*waveforms).double()
    torch.testing.assert_close(found.mean_frame, expected.mean(dim=0).float(), rtol=1e-5, atol=1e-6)
    _, _, directions = np.linalg.svd(
        (expected[:, 0] - expected[:, 0].mean(dim=0)).numpy(), full_matrices=False
    )
    assert found.directions.shape == (33, 5)
    torch.testing.assert_close(
        projector(found.directions), projector(torch.from_numpy(directions[:5].T).float()), atol=1e-4, rtol=0
    )


def test_what_cannot_be_heard_does_not_count():
    """Digital silence between sounds leaves the statistics as they are without it."""
    sound = noise(1, 2048)
    gap = torch.zeros(1, 4096)
    whole = measure_recordings(split(torch.cat([sound, gap, sound], dim=1)), REPRESENTATION, 3)
    heard = frames(torch.cat([sound, gap, sound], dim=1))
    heard = heard[heard[:, 0].amax(dim=-1) > 1]
    assert len(heard) < len(frames(sound)) * 2 + 10
    torch.testing.assert_close(whole.mean_frame, heard.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_recording_is_taken_piece_by_piece(monkeypatch):
    """A recording measured in pieces has the frames of the whole, but for the ends of the pieces."""
    waveform = noise(1, 40_000)
    whole = measure_recordings(split(waveform), REPRESENTATION, 4)
    monkeypatch.setattr(baselines, "_PIECE_SECONDS", 0.3)
    pieces = measure_recordings(split(waveform), REPRESENTATION, 4)
    torch.testing.assert_close(pieces.mean_frame[0], whole.mean_frame[0], atol=0.05, rtol=0)


def test_ten_minutes_are_looked_at(monkeypatch):
    """Recordings share ten minutes (here three seconds), and longer ones get what short ones leave."""
    monkeypatch.setattr(baselines, "_SECONDS", 3.0)
    waveforms = noise(1, RATE // 2), noise(1, 10 * RATE, seed=1), noise(2, 10 * RATE, seed=2)
    found = measure_recordings(split(*waveforms), REPRESENTATION, 2)
    # 2.5 s are left for the two longer ones; one has two channels.
    expected = frames(waveforms[0], waveforms[1][:, :10_000], waveforms[2][:, :5_000]).mean(dim=0)
    torch.testing.assert_close(found.mean_frame, expected, rtol=1e-4, atol=1e-5)


def test_wide_frames_have_the_same_directions(monkeypatch):
    """Directions found by inner products, as above 2049 bins (here 32), equal those of the covariance."""
    waveform = noise(1, 900).cumsum(dim=1) / 10
    expected = measure_recordings(split(waveform), REPRESENTATION, 4)
    monkeypatch.setattr(baselines, "_MOST_BINS", 32)
    found = measure_recordings(split(waveform), REPRESENTATION, 4)
    assert torch.equal(found.mean_frame, expected.mean_frame)
    torch.testing.assert_close(projector(found.directions), projector(expected.directions), atol=1e-4, rtol=0)


def test_of_wide_frames_some_are_looked_at(monkeypatch):
    """At most 2048 wide frames (here 20), evenly spaced, are measured, in pieces as well."""
    monkeypatch.setattr(baselines, "_MOST_BINS", 32)
    monkeypatch.setattr(baselines, "_MOST_FRAMES", 20)
    monkeypatch.setattr(baselines, "_PIECE_SECONDS", 0.02)
    waveform = noise(1, 1600).cumsum(dim=1) / 10
    pieces = frames(*waveform.split(160, dim=1)).double()
    step = 5  # 100 hops, 20 frames
    rows = pieces[::step, 0] - pieces[:, 0].mean(dim=0)
    _, _, directions = np.linalg.svd(rows.numpy(), full_matrices=False)
    found = measure_recordings(split(waveform), REPRESENTATION, 3)
    torch.testing.assert_close(
        projector(found.directions), projector(torch.from_numpy(directions[:3].T).float()), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("most", [2049, 32])
def test_a_corpus_that_cannot_be_heard(monkeypatch, most):
    """An inaudible corpus has a mean frame of silence, and no directions that matter."""
    monkeypatch.setattr(baselines, "_MOST_BINS", most)
    found = measure_recordings(split(torch.zeros(1, 1000)), REPRESENTATION, 2)
    assert torch.equal(found.mean_frame, torch.zeros(2, 33))
    assert found.directions.isfinite().all()


@pytest.mark.parametrize(("latents_per_second", "components"), [(1000, 2), (500, 1), (250, 1)])
def test_a_linear_code_has_as_many_numbers_as_the_model(latents_per_second, components):
    """A model of 16 numbers for 8 frames gives the linear code 2 per frame; fewer than 1 there cannot be."""
    settings = attrs.evolve(ModelSettings(), width=8, fine_width=8, latents_per_second=latents_per_second)
    assert components_per_frame(make_model(settings, REPRESENTATION, seed=0)) == components


def test_the_linear_code_keeps_what_lies_along_its_directions(vae):
    """The code equals the ceiling with every direction, and has the mean's magnitudes with none."""
    waveform = noise(2, 2000)
    vae.iterations = 4
    statistics = measure_recordings(split(waveform), REPRESENTATION, 33)
    whole = linear_code(statistics, vae, REPRESENTATION)(waveform)
    best = ceiling(vae, REPRESENTATION)(waveform)
    torch.testing.assert_close(whole, best, atol=1e-3, rtol=0)
    nothing = attrs.evolve(statistics, directions=statistics.directions[:, :0])
    mean = statistics.mean_frame[:, :, None].expand(2, -1, -1, REPRESENTATION.frames(2000))
    torch.testing.assert_close(
        linear_code(nothing, vae, REPRESENTATION)(waveform), vae.render(mean, REPRESENTATION, 2000)
    )


def test_more_components_come_nearer(vae):
    """Tones of many pitches are coded the better, the more numbers there are."""
    time = torch.arange(2 * RATE) / RATE
    waveform = torch.stack([0.3 * torch.sin(2 * math.pi * (200 + 900 * time) * time)])
    vae.iterations = 16
    distances = [
        float(
            log_spectral_distance(
                linear_code(measure_recordings(split(waveform), REPRESENTATION, count), vae, REPRESENTATION)(
                    waveform
                ),
                waveform,
            )
        )
        for count in (1, 4, 16)
    ]
    assert distances[0] > distances[1] + 1 > distances[2] + 1.5


def test_the_ceiling_finds_phases_as_the_model_does(vae):
    """The ceiling has the original's magnitudes, and the phases of the model's own rendering."""
    waveform = noise(1, 2000, seed=1)  # phases begin as those of seed 0
    spectrogram = REPRESENTATION(waveform)
    for iterations in (0, 4):
        vae.iterations = iterations
        found = ceiling(vae, REPRESENTATION)(waveform)
        assert torch.equal(found, vae.render(spectrogram, REPRESENTATION, 2000))
        assert not torch.allclose(found, waveform, atol=1e-3)
