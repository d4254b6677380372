"""Speed of the model and of the base training's objective, without and with `torch.compile`.

Run: python benchmarks/compiled.py [--device cpu|cuda] [--batch N] [--runs N] [--modes MODE ...]
     [--write PAGE]

Forward and backward passes of both versions run alternately in one process. A row gives the medians, the
median of the ratios of successive runs, the shares of matrix products in the time of all operations (on CUDA,
of all kernels), and the time of the first run, which includes compilation. On CUDA,
the mode `reduce-overhead` of `torch.compile` replays CUDA graphs. A line names the mode that makes the base
training fastest, if one makes it at least 10 % faster. An error of the compiler is reported in the table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from base import CLIP_FRAMES, Training, use_tensor_cores
from page import machine, table, write_section
from step import profiled
from torch import Tensor

Compute = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class Case:
    """A batch of noise for forward and backward passes."""

    def __init__(self, batch: int, device: torch.device) -> None:
        self.device = device
        self.training = training = Training(Path("no-such-folder"), device, batch=batch)
        generator = torch.Generator().manual_seed(0)
        waveform = 0.1 * torch.randn(batch, training.samples, generator=generator)
        self.spectrogram = training.representation(waveform.to(device))[..., :CLIP_FRAMES]
        size, frames = training.vae.latent_size, training.vae.latent_frames(CLIP_FRAMES)
        self.noise = torch.randn(batch, size, frames, generator=generator).to(device)

    def objective(self, spectrogram: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of the base training's objective."""
        return tuple(self.training.compute(spectrogram, noise).values())

    def seconds(self, compute: Compute) -> float:
        """Return the seconds of a forward and backward pass."""
        self._wait()
        start = time.perf_counter()
        self.training.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16):
            results = compute(self.spectrogram, self.noise)
        torch.stack([result.float().mean() for result in results]).sum().backward()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def compare(case: Case, compute: Compute, runs: int, mode: str) -> list[float]:
    """Return the seconds without and with compilation, their ratio, two shares, and a first run's seconds."""
    torch.compiler.reset()
    compiled = torch.compile(compute, mode=mode)
    for _ in range(2):
        case.seconds(compute)
    first = case.seconds(compiled)
    case.seconds(compiled)
    pairs = [(case.seconds(compute), case.seconds(compiled)) for _ in range(runs)]
    plain, faster = map(statistics.median, zip(*pairs, strict=True))
    shares = []
    for each in (compute, compiled):
        busy, products, _ = profiled(lambda each=each: case.seconds(each), case.device)
        shares.append(products / (busy or 1))
    return [plain, faster, statistics.median(one / other for one, other in pairs), *shares, first]


def main() -> None:
    """Measure, print the table, and optionally write it to a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--modes", nargs="*", default=["default", "reduce-overhead"])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    use_tensor_cores()
    case = Case(options.batch, device)
    rows = []
    # Without a GPU there are no CUDA graphs.
    modes = options.modes if options.device == "cuda" else ["default"]
    cases = {"objective": case.objective, "model": case.training.vae}
    best, most = "no", 1.1
    for (name, compute), mode in product(cases.items(), modes):
        gain = 0.0
        try:
            plain, faster, gain, *shares, first = compare(case, compute, options.runs, mode)
            of_products = " to ".join(f"{share:.0%}" for share in shares)
            times = f"{plain * 1e3:.1f}", f"{faster * 1e3:.1f}", f"{gain:.2f}", of_products, f"{first:.0f}"
        except Exception as error:  # noqa: BLE001  # whatever a compiler raises
            lines = str(error).strip().splitlines() or [""]
            times = "", "", f"fails: {type(error).__name__}: {lines[0]}".replace("|", "/"), "", ""
        rows.append([name, mode, *times])
        if name == "objective" and gain > most:
            best, most = mode, gain
        print(f"compile pays: {best}", flush=True)
    title = f"Compiled, {options.device}, {options.batch} clips"
    intro = (
        f"Measured by `python benchmarks/compiled.py --device {options.device} --batch {options.batch} "
        f"--runs {options.runs} --modes {' '.join(modes)}` on {machine(device)}; torch {torch.__version__}, "
        "bfloat16."
    )
    head = [
        "forth and back",
        "mode",
        "as it is, ms",
        "compiled, ms",
        "times faster",
        "products",
        "first run, s",
    ]
    text = "\n\n".join([f"## {title}", intro, table(head, rows)])
    print(text)
    if options.write is not None:
        write_section(options.write, title, text)


if __name__ == "__main__":
    main()
