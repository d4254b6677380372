"""What a step of a training is made of before anything is learnt: clips, noise, what the loss looks at.

Shapes: `B` clips in a step, `N` samples, `D` numbers in each of `T'` latents.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.audio.corpus import Split, Stream
from distill.model import VAE
from distill.model.spread import negative_log_likelihood
from distill.settings import TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.training.augmentation import augment, drawn_samples
from distill.views import LossInputs, Posterior, Signal

_CLIPS_TO_BEGIN_WITH = 512
_BEGUN_AT_A_TIME = 64

_CALIBRATIONS = 60
_CALIBRATION_RATE = 2e-3


def clip_samples(settings: TrainingSettings, representation: MagnitudeIF, model: VAE) -> int:
    """Give the samples of a clip that is at least as long as asked for and fills whole latents."""
    frames = representation.frames(round(settings.clip_seconds * representation.sample_rate))
    return representation.samples(model.latent_frames(frames) * model.stride)


def draw_clips(
    recordings: Split | Stream,
    settings: TrainingSettings,
    samples: int,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """Draw a step's clips and augment them as the settings say, or only these `rows`: `[B, samples]`.

    Of processes that draw alike, each reads its own clips and the one that may lie over the first.
    """
    count, (speed, mix) = settings.batch_size, settings.augmentation(begun=False)
    wanted = list(range(count)) if rows is None else list(rows)
    others = [] if len(wanted) == count else [wanted[0] - 1]
    clips = augment(
        recordings.draw(count, drawn_samples(samples, speed), generator, rows=others + wanted),
        samples,
        speed=speed,
        gain_db=settings.gain_db,
        mix=mix,
        generator=generator,
        rows=others + wanted,
        of=count,
    )
    return clips[len(others) :]


def draw_noise(
    model: VAE, representation: MagnitudeIF, clips: int, samples: int, generator: torch.Generator
) -> Tensor:
    """Draw standard normal noise for clips of so many samples, on the generator's device: `[B, D, T']`."""
    latent_frames = model.latent_frames(representation.frames(samples))
    shape = (clips, model.latent_size, latent_frames)
    return torch.randn(shape, generator=generator, device=generator.device)


def predict(
    model: nn.Module,
    representation: MagnitudeIF,
    waveform: Tensor,
    noise: Tensor | None,
    *,
    iterations: int,
    progress: float,
) -> LossInputs:
    """Reconstruct the waveforms `[B, N]`, and give what the loss looks at; `iterations` are `Signal`'s."""
    with torch.no_grad():
        spectrogram = representation(waveform)
    reconstruction, mu, logvar = model(spectrogram, noise)
    return LossInputs(
        prediction=Signal.from_spectrogram(reconstruction, representation, iterations=iterations),
        target=Signal.from_waveform(waveform, representation, spectrogram=spectrogram),
        posterior=Posterior(mu=mu, logvar=logvar),
        progress=progress,
    )


def begin(
    model: VAE, representation: MagnitudeIF, recordings: Split | Stream, settings: TrainingSettings
) -> None:
    """Let a model with a small code begin with its principal axes over the recordings, at all speeds."""
    if model.axes is None:
        return
    generator = torch.Generator().manual_seed(settings.seed)
    samples = clip_samples(settings, representation, model)
    speed, _ = settings.augmentation(begun=False)
    length = drawn_samples(samples, speed)
    spectrograms = []
    for _ in range(_CLIPS_TO_BEGIN_WITH // _BEGUN_AT_A_TIME):
        clips = recordings.draw(_BEGUN_AT_A_TIME, length, generator)
        clips = augment(clips, samples, speed=speed, gain_db=0, mix=0, generator=generator)
        spectrograms.append(representation(clips.to(model.device)))
    model.begin_with(torch.cat(spectrograms))


def calibrate(
    model: VAE, representation: MagnitudeIF, recordings: Split | Stream, settings: TrainingSettings
) -> None:
    """Let the model's `spread` tell how far off its log-magnitudes are, on clips as a training draws them.

    No term does so: all compare what is decoded itself. The spread's layer alone learns, from errors that
    are taken to follow a Laplace distribution.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    samples = clip_samples(settings, representation, model)
    learnt = list(model.spread_out.requires_grad_().parameters())
    optimizer = torch.optim.Adam(learnt, _CALIBRATION_RATE)
    model.eval()
    for step in range(_CALIBRATIONS):
        waveform = draw_clips(recordings, settings, samples, generator).to(model.device)
        with torch.no_grad():
            features, error = model.errors(representation(waveform))
        with torch.enable_grad():
            optimizer.zero_grad()
            negative_log_likelihood(error, model.spread_of(features)).mean().backward()
        optimizer.param_groups[0]["lr"] = _CALIBRATION_RATE * (1 - step / _CALIBRATIONS)
        optimizer.step()
    model.spread_out.requires_grad_(False)
