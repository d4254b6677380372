"""Time of a training step by part and by term, and its lower bound.

Run: python benchmarks/step.py [--loss LIST] [--threads N] [--rate HZ] [--device cpu|cuda] [--batch N]
     [--write PAGE]

The parts run alternately in one process, and times are medians of several runs. The parts are the clips
(drawn and augmented), the representation, the model alone (with a frozen encoder, as in training from the
base model; on a GPU, replayed by CUDA graphs), all terms together on the model's output (forward and
backward, with the inverse for terms of the waveform), each term alone, and the optimizer. On one CPU thread,
times are CPU times of this process. A profile of each part gives the shares of matrix products (including
convolutions) and Fourier transforms: of operations on a CPU, of kernels on a GPU.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from page import machine, table, write_section
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from distill import LossInputs, Posterior, Registry, Signal
from distill.loss.composer import CombinedLoss
from distill.model.building import make_model, make_representation
from distill.recipe import Draft, read_recipe
from distill.training.augmentation import augment, drawn_samples
from distill.training.batches import clip_samples
from distill.training.building import open_recipe_corpus
from distill.training.devices import make_accelerator
from distill.training.graphs import Model, recorded
from distill.training.memory import keep_freed_memory

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::mkldnn_convolution",
            "aten::convolution_backward", "aten::cudnn_convolution", "aten::_conv_depthwise2d")  # fmt: skip
TRANSFORMS = ("aten::_fft_r2c", "aten::_fft_c2r", "aten::_fft_c2c")
PRODUCT_KERNELS = re.compile(
    r"^(?!triton_(poi|red|per)).*(gemm|gemv|nvjet|cutlass|xmma|conv(?!ert)|wgrad|dgrad)", re.IGNORECASE
)
"""Compiled element-wise kernels are named after all operations near them."""

TRANSFORM_KERNELS = re.compile("fft", re.IGNORECASE)


class Step:
    """The parts of a recipe's training step, which can be called separately."""

    def __init__(self, draft: Draft, runs: Path) -> None:
        recipe = draft.recipe
        self.settings = settings = recipe.training
        self.accelerator = make_accelerator(settings)
        self.device = device = self.accelerator.device
        self.representation = make_representation(recipe.representation).to(device)
        self.model = make_model(recipe.model, self.representation, settings.seed).to(device)
        for parameter in self.model.encoder_parameters():
            parameter.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)
        self.corpus = open_recipe_corpus(recipe.corpus, self.representation.sample_rate, runs)
        self.samples = clip_samples(settings, self.representation, self.model)
        self.audio = settings.batch_size * self.samples / self.representation.sample_rate
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.waveform = self.draw()
        self.spectrogram = self.representation(self.waveform)
        latent_frames = self.model.latent_frames(self.spectrogram.shape[-1])
        self.noise = torch.randn(settings.batch_size, self.model.latent_size, latent_frames, device=device)
        self.forward: Model = self.accelerator.prepare_model(self.model)
        if device.type == "cuda":
            self.forward = recorded(self.model, self.spectrogram, self.noise) or self.forward
        self.learn()
        outputs = self.forward(self.spectrogram, self.noise)
        self.outputs = [x.detach().requires_grad_() for x in outputs]
        losses = {"loss": CombinedLoss(draft.terms, recipe.loss).to(device)}
        losses |= {
            f"\N{NO-BREAK SPACE}`{term.name}` alone": CombinedLoss((term,), recipe.loss).to(device)
            for term in draft.terms
        }
        self.parts: dict[str, Callable[[], object]] = {
            "clips": self.draw,
            "representation": lambda: self.representation(self.waveform),
            "model": self.learn,
            "optimizer": self.update,
        } | {name: lambda loss=loss: self.compare(loss) for name, loss in losses.items()}

    def draw(self) -> torch.Tensor:
        """Draw clips and augment them."""
        settings = self.settings
        speed, mix = settings.augmentation(begun=True)  # as the rest of the step
        length = drawn_samples(self.samples, speed)
        return augment(
            self.corpus.train.draw(settings.batch_size, length, self.generator),
            self.samples,
            speed=speed,
            gain_db=settings.gain_db,
            mix=mix,
            generator=self.generator,
            device=self.device,
        )

    def learn(self) -> None:
        """Run the model forward and backward."""
        self.optimizer.zero_grad()
        outputs = self.forward(self.spectrogram, self.noise)
        learnt = [x for x in outputs if x.requires_grad]
        torch.autograd.backward(learnt, [torch.ones_like(x) for x in learnt])

    def compare(self, loss: CombinedLoss) -> None:
        """Run a loss forward and backward, to the model's outputs."""
        made, mu, logvar = self.outputs
        inputs = LossInputs(
            prediction=Signal.from_spectrogram(
                made, self.representation, iterations=self.settings.griffin_lim_iterations
            ),
            target=Signal.from_waveform(self.waveform, self.representation, spectrogram=self.spectrogram),
            posterior=Posterior(mu=mu, logvar=logvar),
            progress=1.0,
        )
        torch.autograd.grad(loss(inputs)["total"], self.outputs, allow_unused=True)

    def update(self) -> None:
        """Clip the gradient and take an optimizer step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_gradient_norm)
        self.optimizer.step()


def timed(parts: dict[str, Callable[[], object]], runs: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of each part, with parts run alternately."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(runs + 2):
        for name, part in parts.items():
            start = clock()
            part()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def profiled(part: Callable[[], object], device: torch.device) -> tuple[float, float, float]:
    """Return the seconds of a part's operations, and those of its matrix products and Fourier transforms."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as result:
        for _ in range(5):
            part()
        if device.type == "cuda":
            torch.cuda.synchronize()
    counted = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [event for event in result.key_averages() if event.device_type == counted]

    def seconds(wanted: Callable[[str], object]) -> float:
        times = (
            event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
            for event in events
            if wanted(event.key)
        )
        return sum(times) / 5e6

    if device.type == "cuda":
        return seconds(lambda _: True), seconds(PRODUCT_KERNELS.search), seconds(TRANSFORM_KERNELS.search)
    return seconds(lambda _: True), seconds(PRODUCTS.__contains__), seconds(TRANSFORMS.__contains__)


def kernels(profiles: dict[str, tuple[float, float, float]], whole: float) -> str:
    """Return a sentence on how long a GPU is busy in a step of `whole` seconds, and with what."""
    parts = [values for name, values in profiles.items() if not name.startswith("\N{NO-BREAK SPACE}")]
    busy, products, transforms = map(sum, zip(*parts, strict=True))
    return (
        f"The GPU computes for {busy * 1e3:.1f} ms of these {whole * 1e3:.1f} ms. Matrix products "
        f"and convolutions are {products / (busy or 1):.0%} of it, Fourier transforms "
        f"{transforms / (busy or 1):.0%}."
    )


def floors(step: Step, runs: int) -> str:
    """Return a sentence on the minimal times of a step's arithmetic and memory traffic at measured speeds."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        outputs = step.model(step.spectrogram, step.noise)
        torch.stack([each.mean() for each in outputs]).sum().backward()
    operations = counter.get_total_flops()
    # A layer of the coarse grid, where most products are.
    layer = step.model.decoder.blocks[0].widen
    shape = layer.in_features, layer.out_features
    cells = step.noise.shape[0] * step.noise.shape[-1] * step.model.bands
    kind = torch.bfloat16 if step.accelerator.mixed_precision == "bf16" else torch.float32
    one = torch.randn(cells, shape[0], dtype=kind, device=step.device)
    other = torch.randn(shape, dtype=kind, device=step.device)
    block = torch.zeros(2**24, device=step.device)
    taken = timed({"product": lambda: one @ other, "copy": block.clone}, runs, step.device)
    rate = 2 * one.numel() * shape[1] / taken["product"]
    bandwidth = 2 * block.nbytes / taken["copy"]
    # Memory traffic: the representation is written; the model reads half of it, writes its output and reads
    # the gradient; the loss reads both and writes the gradient. AdamW reads four and writes three numbers
    # per weight.
    weights = sum(parameter.numel() for parameter in step.model.parameters())
    moved = 6.5 * step.spectrogram.nbytes + 28 * weights
    return (
        f"Floor: {operations / 1e9:.1f} GFLOP of matrix products, {operations / rate * 1e3:.1f} ms at the "
        f"{rate / 1e9:.0f} GFLOP/s of {cells} x {shape[0]} x {shape[1]}; {moved / 1e6:.0f} MB to move, "
        f"{moved / bandwidth * 1e3:.1f} ms at the {bandwidth / 1e9:.1f} GB/s of a copy; and the Fourier "
        f"transforms, of the shares that the table gives."
    )


def main() -> None:
    """Measure, print the table, and optionally write it to a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loss", help="by default the terms, and weights, of a recipe that names none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=int, default=44_100)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=8, help="clips in a step")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as `distill train` does
    tree = {
        "representation": {"sample_rate": options.rate},
        "training": {
            "device": options.device,
            "precision": options.precision,
            "batch_size": options.batch,
        },
    }
    draft = read_recipe(tree, Registry(), loss=options.loss)
    with tempfile.TemporaryDirectory() as runs:
        step = Step(draft, Path(runs))
        medians = timed(step.parts, options.runs, step.device)
        profiles = {name: profiled(part, step.device) for name, part in step.parts.items()}
        floor = floors(step, options.runs)
    whole = sum(value for name, value in medians.items() if not name.startswith("\N{NO-BREAK SPACE}"))
    rows = []
    for name, x in medians.items():
        busy, *shares = profiles[name]
        rows.append([name, f"{x * 1e3:.1f}", f"{x / whole:.0%}", *(f"{y / (busy or 1):.0%}" for y in shares)])
    rows.append(["the step", f"{whole * 1e3:.1f}", "", "", ""])
    terms = ",".join(term.name for term in draft.terms)
    words = f"--threads {options.threads} --device {options.device} --precision {options.precision}"
    words += f" --batch {options.batch}" * (options.batch != 8)
    words += f" --loss {options.loss}" if options.loss else ""
    precision = "bfloat16" if step.accelerator.mixed_precision == "bf16" else "float32"
    title = f"Training step, {options.device}, {options.threads} thread{'s' * (options.threads > 1)}, {terms}"
    title += f", {options.batch} clips" * (options.batch != 8)
    intro = (
        f"**{step.audio / whole:.0f} seconds of audio per second.** Measured by `python benchmarks/step.py "
        f"{words} --runs {options.runs}` on {machine(step.device)}; torch {torch.__version__}, the model "
        f"in {precision}; {step.settings.batch_size} clips, {step.audio:.1f} s at {options.rate:,} Hz."
    )
    head = ["part", "ms", "of the step", "of it products", "of it FFTs"]
    blocks = [f"## {title}", intro, table(head, rows), floor]
    if step.device.type == "cuda":
        blocks.append(kernels(profiles, whole))
    text = "\n\n".join(blocks)
    print(text)
    if options.write is not None:
        write_section(options.write, title, text)


if __name__ == "__main__":
    main()
