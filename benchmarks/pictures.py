"""Plot spectrograms of originals and their reconstructions, for `docs/sound.md`.

Run: python benchmarks/pictures.py HELDOUT [--run RUN] [--out docs/pictures/reconstructions.png]

Each row shows at most two seconds of a recording: the original, a linear code with as many numbers per second
(the principal components of the training recordings of RUN), and the model of RUN. Levels are in dB relative
to the original's loudest cell, with an FFT size of 2048 and a hop of 512. Needs matplotlib.
"""

from io import BytesIO
from pathlib import Path

import click
import torch
from matplotlib import pyplot as plt
from measures import audio_below, read_sounds
from PIL import Image

from distill.evaluation.baselines import linear_code, load_statistics
from distill.model.loading import load_model
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF
from distill.storage.run import Run

SECONDS, HERTZ, DECIBELS = 2.0, 10_000, 70
NAMES = "drum_cowbell", "tabla_na", "ambi_lunar_land", "loop_safari", "vinyl_hiss"


def decibels(waveform: torch.Tensor, representation: MagnitudeIF) -> torch.Tensor:
    """Return the level of each cell, `[F, T]`."""
    amplitude = representation.amplitude(representation(waveform)[0, 0])
    return 20 * torch.log10(amplitude + 1e-7)


@click.command()
@click.argument("heldout", type=click.Path(exists=True, path_type=Path))
@click.option("--run", "folder", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/pictures/reconstructions.png"))
def main(heldout: Path, *, folder: Path, out: Path) -> None:
    """Reconstruct the recordings and plot the spectrograms."""
    run = Run(folder)
    vae, representation = load_model(run)
    statistics = load_statistics(run, representation.bins)
    assert statistics is not None  # noqa: S101  # every training leaves them
    paths = {path.stem: path for path in audio_below(heldout)}
    sounds = read_sounds([paths[name] for name in NAMES], representation.sample_rate)
    columns = {
        "original": lambda waveform: waveform,
        "linear code": linear_code(statistics, vae, representation),
        "reconstruction": lambda waveform: reconstruct(vae, representation, waveform),
    }
    figure, axes = plt.subplots(len(sounds), len(columns), figsize=(9, 1.75 * len(sounds)), sharey=True)
    for (name, waveform), row in zip(sounds, axes, strict=True):
        heard = waveform[:, : int(SECONDS * representation.sample_rate)]
        loudest = float(decibels(heard, representation).max())
        for (title, made), axis in zip(columns.items(), row, strict=True):
            with torch.no_grad():
                levels = decibels(made(heard), representation) - loudest
            seconds = heard.shape[-1] / representation.sample_rate
            extent = (0, seconds, 0, representation.sample_rate / 2000)
            axis.imshow(levels, "magma", vmin=-DECIBELS, vmax=0, origin="lower", aspect="auto", extent=extent)
            axis.set_ylim(0, HERTZ / 1000)
            axis.tick_params(labelsize=6)
            axis.set_title(f"{Path(name).stem}: {title}", fontsize=7)
        row[0].set_ylabel("kHz", fontsize=7)
    figure.tight_layout(pad=0.4)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=90)
    # A palette reduces the size to a quarter without visible differences.
    Image.open(drawn).convert("RGB").quantize(64).save(out, optimize=True)


if __name__ == "__main__":
    main()
