"""The data of a training step: clips, noise and the inputs of the loss. Also initialization from a corpus.

Shapes: `B` clips in a batch, `N` samples, `D` numbers per latent frame, `T'` latent frames.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from distill.audio.corpus import Split, Stream
from distill.audio.progress import Progress
from distill.config.settings import TrainingSettings
from distill.model import VAE
from distill.model.axes import CodeStatistics
from distill.model.initialization import initialize_axes, windows
from distill.model.spread import negative_log_likelihood
from distill.spectral.representation import MagnitudeIF
from distill.training.augmentation import augment, drawn_samples
from distill.training.graphs import Model
from distill.views import LossInputs, Posterior, Signal

_RECORDINGS_TO_BEGIN_WITH = 512
_SECONDS_TO_BEGIN_WITH = 6.0

_CALIBRATIONS = 60
_CALIBRATION_RATE = 2e-3


def clip_samples(settings: TrainingSettings, representation: MagnitudeIF, model: VAE) -> int:
    """Return the number of samples in a clip: at least `clip_seconds`, and whole latent frames."""
    frames = representation.frames(round(settings.clip_seconds * representation.sample_rate))
    return representation.samples(model.latent_frames(frames) * model.stride)


def draw_clips(
    recordings: Split | Stream,
    settings: TrainingSettings,
    samples: int,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Draw the clips of a step, or only its `rows`, and augment them: `[B, samples]` on a device.

    Distributed processes with equal generators each read only their own rows, and the clip before the first
    row, which may be mixed with it.
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
        device=device,
    )
    return clips[len(others) :]


def draw_noise(
    model: VAE, representation: MagnitudeIF, clips: int, samples: int, generator: torch.Generator
) -> Tensor:
    """Draw standard normal noise `[B, D, T']` for clips of `samples`, on the generator's device."""
    latent_frames = model.latent_frames(representation.frames(samples))
    shape = (clips, model.latent_size, latent_frames)
    return torch.randn(shape, generator=generator, device=generator.device)


def predict(
    model: Model,
    representation: MagnitudeIF,
    waveform: Tensor,
    noise: Tensor | None,
    *,
    iterations: int,
    progress: float,
) -> LossInputs:
    """Reconstruct waveforms `[B, N]` and return the inputs of the loss; `Signal` uses the `iterations`."""
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
    model: VAE,
    representation: MagnitudeIF,
    recordings: Split | Stream,
    prior: CodeStatistics | None = None,
) -> None:
    """Initialize the axes of a small code to its principal axes over the beginnings of recordings.

    `prior` has the statistics of the full code for sounds in general, if the code is that of the base model.
    """
    if model.axes is None:
        return
    stop = round(_SECONDS_TO_BEGIN_WITH * representation.sample_rate)
    some = recordings.recordings[:: -(-len(recordings.recordings) // _RECORDINGS_TO_BEGIN_WITH)]

    def spectrograms() -> Iterator[Tensor]:
        for number, recording in enumerate(some):
            waveform = recordings.read(recording, stop=stop)
            yield windows(model, representation, waveform[number % len(waveform)])

    initialize_axes(model, spectrograms(), prior)


def calibrate(
    model: VAE,
    representation: MagnitudeIF,
    recordings: Split | Stream,
    settings: TrainingSettings,
    *,
    go_on: Callable[[], bool] = lambda: True,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Train the model's `spread` layer to predict the error of its log-magnitudes, on training clips.

    No loss term trains this layer, since all terms compare the decoded signal. The errors are assumed to
    follow a Laplace distribution. No other parameter changes. The training ends when `go_on` returns False.
    `on_progress` is called after each step.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    samples = clip_samples(settings, representation, model)
    learnt = list(model.spread_out.requires_grad_().parameters())
    optimizer = torch.optim.Adam(learnt, _CALIBRATION_RATE)
    model.eval()
    for step in range(_CALIBRATIONS):
        if not go_on():
            break
        on_progress(Progress(stage="calibrating", done=step, total=_CALIBRATIONS))
        waveform = draw_clips(recordings, settings, samples, generator, device=model.device)
        with torch.no_grad():
            features, error = model.errors(representation(waveform))
        with torch.enable_grad():
            optimizer.zero_grad()
            negative_log_likelihood(error, model.spread_of(features)).mean().backward()
        optimizer.param_groups[0]["lr"] = _CALIBRATION_RATE * (1 - step / _CALIBRATIONS)
        optimizer.step()
    model.spread_out.requires_grad_(False)
