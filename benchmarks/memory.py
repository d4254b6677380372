"""Memory use of long recordings, of many, and of the beginning of a training run.

Run: python benchmarks/memory.py [PART ...], on Linux. The parts are:

    corpus       open 2, 20 and 120 minutes of noise, and draw clips
    files        open a corpus of 100,000 files of 0.1 s (--files N), twice: decoded, and from the cache
    train        train on 20,000 files of 0.1 s (--train-files N) for one step, with the default recipe
    compact      initialize a compact code, before the first step
    encode       encode a minute of stereo, as at the end of a training run
    piece        reconstruct 50 s of stereo with the base model (three pieces)
    hour         reconstruct 60 minutes of stereo with the base model, from file to file
    reconstruct  reconstruct 2 and 60 minutes of stereo with a tiny model, from file to file
    steps        train a tiny model for 10,000 steps

Each measurement runs in its own process. Anonymous memory is what the process holds; the peak also counts the
program's code. What the system caches of files is reclaimed when needed.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

RATE = 44_100
SMALL_RATE = 8000


def megabytes(name: str) -> float:
    """Return a figure of this process in MB: `RssAnon`, or its largest resident size, `VmHWM`."""
    (kilobytes,) = re.findall(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1e3


def write_noise(path: Path, seconds: float, rate: int, channels: int = 1) -> None:
    """Write noise to a file, part by part."""
    import numpy as np
    import soundfile

    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    left = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        while left:
            file.write(random.normal(0, 0.1, (min(left, rate), channels)).astype(np.float32))
            left -= min(left, rate)


def corpus(minutes: int, folder: Path) -> None:
    """Open a corpus, and draw 200 batches."""
    import torch

    from distill.audio.corpus import open_corpus

    for minute in range(minutes):
        write_noise(folder / f"{minute}.wav", 60, RATE)
    opened = open_corpus(folder, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        opened.train.draw(16, 33_000, generator)


def files(count: int, folder: Path) -> None:
    """Open a corpus of many short files, twice."""
    import numpy as np
    import soundfile

    from distill.audio.corpus import open_corpus

    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, random.normal(0, 0.1, int(random.integers(400, 3000))), 16_000)
    for what in ("decoded", "from the cache"):
        began, used = time.monotonic(), time.process_time()
        open_corpus(folder, sample_rate=16_000, cache=folder / ".cache", heldout_fraction=0.1)
        took, used = time.monotonic() - began, time.process_time() - used
        print(f"    {what}: {took:.0f} s, {used:.0f} s of processor time", flush=True)


def write_short(folder: Path, count: int) -> None:
    """Write files of 0.1 s, a thousand to a folder."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.normal(0, 0.1, RATE // 10), RATE)


def train(count: int, folder: Path) -> float:
    """Train for one step on many short files, print time and memory of each stage, and return the largest."""
    import distill

    write_short(folder / "corpus", count)
    stage, began, used = "beginning", time.monotonic(), time.process_time()
    own, files, largest = 0.0, 0.0, 0.0

    def enter(name: str) -> None:
        nonlocal stage, began, used, own, files, largest
        own, files = max(own, megabytes("RssAnon")), max(files, megabytes("RssFile"))
        if name == stage:
            return
        took, processor, peak = time.monotonic() - began, time.process_time() - used, megabytes("VmHWM")
        print(
            f"    {stage}: {took:.1f} s, {processor:.1f} s of processor time; {peak:.0f} MB at most, "
            f"{own:.0f} MB of anonymous memory, {files:.0f} MB of mapped files",
            flush=True,
        )
        Path("/proc/self/clear_refs").write_text("5")  # begins the largest resident size anew
        stage, began, used = name, time.monotonic(), time.process_time()
        own, files, largest = 0.0, 0.0, max(largest, peak)

    class Stages(distill.Observer):
        def summary(self, summary: distill.Summary) -> None:
            enter(f"preparing and training on {summary.device}")

    distill.train(
        folder / "corpus",
        steps=1,
        out=folder / "run",
        observer=Stages(),
        on_progress=lambda progress: enter(progress.stage),
    )
    enter("the end")
    latents = (folder / "run" / "latents.safetensors").stat().st_size / 1e6
    print(f"    latents.safetensors has {latents:.0f} MB", flush=True)
    return largest


def compact(folder: Path) -> None:
    """Initialize the axes of a compact code."""
    from distill.audio.corpus import open_corpus
    from distill.config.settings import ModelSettings, RepresentationSettings
    from distill.model.building import make_model, make_representation
    from distill.training.batches import begin
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()
    write_noise(folder / "a.wav", 10, RATE)
    opened = open_corpus(folder, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.0)
    representation = make_representation(RepresentationSettings())
    vae = make_model(ModelSettings(code="compact"), representation, 0)
    begin(vae, representation, opened.train)


def encode(folder: Path) -> None:
    """Encode a minute of stereo with the base model."""
    import torch

    import distill
    from distill.model.sounds import encode as encoded

    del folder
    model = distill.load("base")
    encoded(model.vae, model.representation, 0.1 * torch.randn(2, 60 * RATE))


def piece(seconds: int, folder: Path) -> None:
    """Reconstruct stereo with the base model."""
    import distill
    from distill.training.memory import keep_freed_memory

    keep_freed_memory()  # as `distill reconstruct` does
    write_noise(folder / "a.wav", seconds, RATE, 2)
    distill.load("base").reconstruct_file(folder / "a.wav", folder / "b.wav")


def reconstruct(minutes: int, folder: Path) -> None:
    """Reconstruct a file of stereo with a tiny model at 8 kHz, so that reading and writing are most of it."""
    from distill.config.settings import ModelSettings, RepresentationSettings
    from distill.inference import Model
    from distill.model.building import make_model, make_representation

    representation = make_representation(RepresentationSettings(sample_rate=SMALL_RATE, n_fft=256, hop=128))
    size = ModelSettings(
        width=8, fine_width=8, latents_per_second=300, encoder_blocks=(0, 0), decoder_blocks=(0, 0)
    )
    vae = make_model(size, representation, 0).eval()
    vae.iterations = 1
    write_noise(folder / "a.wav", 60 * minutes, RATE, 2)
    Model(vae, representation, recipe={}).reconstruct_file(folder / "a.wav", folder / "b.wav")


def steps(folder: Path) -> None:
    """Train a tiny model for 10,000 steps, and print the resident size on the way."""
    import distill

    class Sizes(distill.Observer):
        def record(self, record: distill.Record) -> None:
            if record.split == "train" and record.step in (1000, 2000, 5000, 10_000):
                print(f"    after {record.step:,} steps: {megabytes('VmRSS'):.0f} MB", flush=True)

    for number in range(4):
        write_noise(folder / "corpus" / f"{number}.wav", 1, SMALL_RATE)
    tiny = {
        "width": 8,
        "fine_width": 8,
        "latents_per_second": 300,
        "encoder_blocks": (0, 0),
        "decoder_blocks": (0, 0),
    }
    options = {f"model.{name}": value for name, value in tiny.items()} | {
        "representation.sample_rate": SMALL_RATE,
        "representation.n_fft": 256,
        "representation.hop": 128,
        "training.batch_size": 2,
        "training.clip_seconds": 0.2,
        "training.precision": "float32",
        "training.page": False,
    }
    out = folder / "run"
    distill.train(
        folder / "corpus", loss="stft,recon,kl", steps=10_000, options=options, out=out, observer=Sizes()
    )


def parts(count: int, trained: int) -> Iterator[tuple[str, str, Callable[[Path], float | None]]]:
    """Yield each measurement: its part, a description, and the function that does it in a folder."""
    for minutes in (2, 20, 120):
        yield "corpus", f"a corpus of {minutes} minutes", partial(corpus, minutes)
    yield "files", f"a corpus of {count:,} files", partial(files, count)
    yield "train", f"one step on {trained:,} files, default recipe", partial(train, trained)
    yield "compact", "the beginning of a compact code", compact
    yield "encode", "encoding of a minute of stereo", encode
    yield "piece", "reconstruction of 50 s of stereo, base model", partial(piece, 50)
    yield "hour", "reconstruction of 60 minutes of stereo, base model", partial(piece, 3600)
    for minutes in (2, 60):
        yield (
            "reconstruct",
            f"reconstruction of {minutes} minutes of stereo, tiny model",
            partial(reconstruct, minutes),
        )
    yield "steps", "a tiny training of 10,000 steps", steps


def measured(function: Callable[[Path], float | None], folder: Path) -> tuple[float, float]:
    """Run a function; return the MB of anonymous memory at its end, and the largest resident size.

    One that begins the largest size anew returns that of before.
    """
    import torch

    torch.set_num_threads(1)
    before = function(folder) or 0.0
    return megabytes("RssAnon"), max(before, megabytes("VmHWM"))


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="*", help="all if none is given")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--train-files", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    options = parser.parse_args()
    for part, what, function in parts(options.files, options.train_files):
        if options.part and part not in options.part:
            continue
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            multiprocessing.get_context("spawn").Pool(1) as pool,
        ):
            own, peak = pool.apply(measured, (function, Path(folder)))
        print(f"{what}: {own:.0f} MB of memory at the end, {peak:.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
