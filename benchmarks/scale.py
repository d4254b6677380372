"""Costs and effects of distributed training and shards: the measurements in `docs/scale.md`.

Run: python benchmarks/scale.py [RECORDINGS], a folder, by default the demo corpus. Needs `distill[shards]`.

Speeds are medians of alternating runs. With several processes, each has one thread.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from distill import LossInputs, Posterior, Registry, Signal
from distill.audio.corpus import Split, open_corpus, open_shards, write_demo_corpus, write_shards
from distill.loss.composer import CombinedLoss
from distill.model.building import make_model, make_representation
from distill.model.initialization import initialize_axes
from distill.recipe import Recipe, read_recipe
from distill.storage.checkpoints import load_state, save_checkpoint
from distill.training.augmentation import augment, drawn_samples
from distill.training.batches import clip_samples

RATE = 44_100
RUNS = 5


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", nargs="?", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recordings = options.recordings or write_demo_corpus(folder / "demo")
        print(f"torch {torch.__version__}, {os.cpu_count()} cores; audio at {RATE} Hz")
        measure_reading(recordings, folder)
        measure_model(folder)
        measure_gradients(recordings, folder)
        measure_processes(recordings, folder)


def measure_reading(recordings: Path, folder: Path) -> None:
    """Print the speed of writing and decoding shards, and of drawing clips."""
    began = time.perf_counter()
    manifest, _ = write_shards(
        recordings, folder / "shards", sample_rate=RATE, heldout_fraction=0.0, minutes=1
    )
    wrote = time.perf_counter() - began
    channels = sum(shard.samples for shard in manifest.train) / RATE
    kilobytes = sum(shard.bytes for shard in manifest.train) / channels / 1e3
    print(f"shards: {kilobytes:.0f} kB in a second of one channel, where float32 has {4 * RATE / 1e3:.0f}; "
          f"written at {channels / wrote:.0f} s per second")  # fmt: skip
    cached = open_corpus(recordings, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.0).train
    streamed = open_shards(str(folder / "shards"), sample_rate=RATE, pool_shards=1).train
    recipe = read_recipe({}, Registry()).recipe
    representation = make_representation(recipe.representation)
    model = make_model(recipe.model, representation, 0)
    samples, batch = clip_samples(recipe.training, representation, model), 64
    speed, _ = recipe.training.augmentation(begun=False)
    drawn = drawn_samples(samples, speed)
    generator = torch.Generator().manual_seed(0)
    clips = cached.draw(batch, drawn, generator)
    change = partial(augment, samples=samples, gain_db=10, mix=0.5, generator=generator)
    seconds = time_in_turn(
        {
            "decoding a shard": lambda: streamed._fill(0),  # noqa: SLF001  # what the stream does in its thread
            "drawing 64 clips from the cache": lambda: cached.draw(batch, drawn, generator),
            "drawing 8 of them": lambda: cached.draw(batch, drawn, generator, rows=range(8)),
            "augmenting 64 clips": lambda: change(clips, speed=speed),
            "the same, speed=0": lambda: change(clips[:, :samples], speed=0),
        }
    )
    decoded = streamed._held[0][1]  # noqa: SLF001  # what the stream has decoded
    audio = sum(each.samples * each.channels for each in decoded) / RATE
    for name, value in seconds.items():
        rate = audio if name.startswith("decoding") else batch * samples / RATE
        print(f"{name:32}{value * 1e3:8.2f} ms, {rate / value:8.0f} s of audio per second")


def measure_model(folder: Path) -> None:
    """Print the size of the model's gradients and checkpoints, and its operations per second of audio."""
    recipe = read_recipe({}, Registry()).recipe
    representation = make_representation(recipe.representation)
    model = make_model(recipe.model, representation, 0)
    samples = clip_samples(recipe.training, representation, model)
    spectrogram = representation(0.1 * torch.randn(8, samples))
    noise = torch.randn(8, model.latent_size, model.latent_frames(spectrogram.shape[-1]))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    with FlopCounterMode(display=False) as counter:
        outputs = model(spectrogram, noise)
        torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    seconds = time_in_turn({"saving": lambda: save_checkpoint(folder / "checkpoints", 1, state)})
    size = next((folder / "checkpoints").iterdir()).stat().st_size
    count = sum(parameter.numel() for parameter in model.parameters())
    operations = counter.get_total_flops() / (8 * samples / RATE)
    print(f"model: {count / 1e6:.2f} million parameters, {4 * count / 1e6:.1f} MB of gradients in a step, "
          f"{operations / 1e9:.2f} GFLOP forth and back in a second of audio")  # fmt: skip
    print(f"checkpoint: {size / 1e6:.1f} MB, saved in {seconds['saving'] * 1e3:.0f} ms")


def measure_gradients(recordings: Path, folder: Path) -> None:
    """Print how much the mean gradient of two half batches differs from that of the batch, for each term."""
    corpus = open_corpus(recordings, sample_rate=RATE, cache=folder / "cache", heldout_fraction=0.0)
    for loss, option in (
        ("stft", "per_example=false"), ("stft", "per_example=true"),
        ("waveform", "per_example=false"), ("waveform", "per_example=true"),
        ("reconstruction", "if_weight=0.5"), ("reconstruction", "if_weight=0.0"), ("kl", "free_bits=0.1"),
    ):  # fmt: skip
        name, _, value = option.partition("=")
        draft = read_recipe(
            {}, Registry(), loss=loss, assignments=[(f"loss.{loss}.{name}", json.loads(value))]
        )
        terms = CombinedLoss(draft.terms, draft.recipe.loss)
        distances = []
        for seed in range(RUNS):
            whole, halves = (stepping(draft.recipe, terms, corpus.train, seed, parts)() for parts in (1, 2))
            distances.append(float((halves - whole).norm() / whole.norm()))
        distance = statistics.median(distances)
        print(f"gradient of two halves, {f'{loss} {option}':32}differs by {distance:.1e} of its length")
    draft = read_recipe({}, Registry())
    step = stepping(draft.recipe, CombinedLoss(draft.terms, draft.recipe.loss), corpus.train, 0, 1)
    with Counting() as operations:
        step()
    print(f"operations in a step of {draft.recipe.training.batch_size} clips: {operations.count}")


class Counting(TorchDispatchMode):
    """A dispatch mode that counts operations on the device, without views."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401  # as torch has it
        """Count an operation and execute it."""
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def stepping(
    recipe: Recipe, terms: CombinedLoss, split: Split, seed: int, parts: int
) -> Callable[[], Tensor]:
    """Return a step that divides its clips into parts and returns the mean of their gradients, a vector."""
    representation = make_representation(recipe.representation)
    model = make_model(recipe.model, representation, 0)
    samples = clip_samples(recipe.training, representation, model)
    generator = torch.Generator().manual_seed(seed)
    initialize_axes(model, representation(split.draw(64, samples, generator)))
    waveform = split.draw(recipe.training.batch_size, samples, generator)
    frames = model.latent_frames(representation.frames(samples))
    noise = torch.randn(len(waveform), model.latent_size, frames, generator=generator)

    def step() -> Tensor:
        for clips, numbers in zip(waveform.chunk(parts), noise.chunk(parts), strict=True):
            spectrogram = representation(clips)
            made, mu, logvar = model(spectrogram, numbers)
            inputs = LossInputs(
                prediction=Signal.from_spectrogram(
                    made, representation, iterations=recipe.training.griffin_lim_iterations
                ),
                target=Signal.from_waveform(clips, representation, spectrogram=spectrogram),
                posterior=Posterior(mu=mu, logvar=logvar),
                progress=1.0,
            )
            (terms(inputs)["total"] / parts).backward()
        gradients = [x.grad.flatten() for x in model.parameters() if x.grad is not None]
        return torch.cat(gradients).double()

    return step


def measure_processes(recordings: Path, folder: Path) -> None:
    """Print the training speed for several numbers of processes and threads, and how results differ."""
    rates: dict[str, list[float]] = {}
    heldout = {}
    for turn in range(3):
        for name, processes, threads in (
            ("1 process, 2 threads", 1, 2),
            ("1 process, 1 thread", 1, 1),
            ("2 processes, 1 thread each", 2, 1),
        ):
            out = folder / f"run-{turn}-{processes}-{threads}"
            launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
            command = [
                sys.executable,
                "-m",
                *launcher,
                "distill",
                "train",
                str(recordings),
                "--steps",
                "40",
                "--set",
                "training.pairs=0",
            ]
            command += ["--set", "training.evaluations=1", "--device", "cpu", "--out", str(out)]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            subprocess.run(command, check=True, capture_output=True, env=environment)
            records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            rates.setdefault(name, []).extend(r["audio_rate"] for r in records if r["split"] == "train")
            heldout[name] = next(r["components"]["total"] for r in records if r["split"] == "heldout")
    for name, values in rates.items():
        print(f"{name:28}{statistics.median(values):6.1f} s of audio per second, "
              f"held-out loss {heldout[name]:.4f} after 40 steps")  # fmt: skip
    one, *others = (
        load_state(folder / f"run-0-{name}" / "model.safetensors") for name in ("1-1", "1-2", "2-1")
    )
    for name, other in zip(("a second thread", "a second process"), others, strict=True):
        distance = max(float((one[key].double() - other[key].double()).abs().max()) for key in one)
        print(f"weights differ by up to {distance:.1e} with {name}, after 40 steps")


def time_in_turn(parts: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each part, with parts run alternately."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(4 * RUNS):
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
