"""Time and memory of the spectral losses compared with auraloss, forward and backward.

Run: python benchmarks/spectral.py [--threads N] [--device cpu|cuda] [--runs N] [--write docs/performance.md]

Losses to compare run alternately in one process, each time on a new prediction. A row gives the medians and
the median of the ratios of successive runs. Times are CPU times of this process or, on a GPU, wall-clock
times. Peak memory is the increase over the memory before the first call, each time in a new process: of the
process or, on a GPU, of the memory that torch's allocator takes, with that of CUDA graphs.
"""

import argparse
import ctypes
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import auraloss
import torch
from page import machine, table, write_section
from torch import Tensor, nn
from torch.nn import functional as F

from distill import LossInputs, MagnitudeIF, Registry, Signal, TermConfig, TermSpec, compose, hookimpl
from distill.functional import create_stft_loss, spectral_distance
from distill.spectral.transforms import stft_magnitude
from distill.views import StftMagnitude

SIZES = [(32, 12_032), (16, 48_000)]
RESOLUTIONS = [(512, 128, 512), (1024, 256, 1024), (2048, 512, 2048)]
VIEWS = [StftMagnitude(n_fft=n, hop=h, win_length=w) for n, h, w in RESOLUTIONS]

Step = Callable[[], object]
Pairs = Iterable[tuple[Tensor, Tensor]]


def log_distance(pairs: Pairs) -> Tensor:
    """Return the L1 distance of log-magnitudes, averaged over the resolutions."""
    return torch.stack([F.l1_loss(one.log(), other.log()) for one, other in pairs]).mean()


def distance(pairs: Pairs) -> Tensor:
    """Return the spectral distance, averaged over the resolutions."""
    return torch.stack([spectral_distance(*pair) for pair in pairs]).mean()


class OnMagnitudes(nn.Module):
    """A term that uses the same magnitudes as the term `waveform`."""

    def __init__(self, formula: Callable[[Pairs], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        return self.formula(inputs.view(view) for view in VIEWS)


FORMULAS = {"log_distance": log_distance, "distance": distance}


class Plugin:
    """A plugin that provides the formulas as terms."""

    @hookimpl
    def distill_loss_terms(self) -> list[TermSpec]:
        """Register the terms."""
        return [
            TermSpec(name=name, config=TermConfig, build=lambda _, f=f: OnMagnitudes(f), summary="")
            for name, f in FORMULAS.items()
        ]


def peer() -> nn.Module:
    """Return auraloss's loss with the same resolutions."""
    return auraloss.freq.MultiResolutionSTFTLoss(*map(list, zip(*RESOLUTIONS, strict=True)))


class Case:
    """Steps to measure on noise of one size. Each computes a loss and its gradient at a new prediction."""

    def __init__(self, batch: int, samples: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.prediction, self.target = (
            torch.randn(batch, samples, generator=generator).mul(0.1).to(device) for _ in range(2)
        )
        registry = Registry(discover=False)
        registry.register(Plugin(), name="benchmark", version="0")
        self._compose = partial(compose, registry=registry)
        self.representation = MagnitudeIF(sample_rate=44_100, n_fft=2048, hop=512).to(device)
        self.spectrograms = [self.representation(x) for x in (self.prediction, self.target)]
        self.auraloss, self.distill = peer().to(device), create_stft_loss()

    def plain(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Step:
        """Return a step that compares the waveforms."""
        return lambda: self._backward(lambda x: loss(x[:, None], self.target[:, None]), self.prediction)

    def flat_by_hand(self) -> Step:
        """Return a step that compares the flattened log-magnitudes with auraloss."""
        prediction, target = self.spectrograms

        def loss(x: Tensor) -> Tensor:
            return self.auraloss(x[:, 0].flatten(1)[:, None], target[:, 0].flatten(1)[:, None])

        return lambda: self._backward(loss, prediction)

    def inverse_by_hand(self) -> Step:
        """Return a step that compares waveforms with auraloss, the predicted one made by the inverse."""
        length = self.target.shape[-1]

        def loss(x: Tensor) -> Tensor:
            return self.auraloss(self.representation.inverse(x, length)[:, None], self.target[:, None])

        return lambda: self._backward(loss, self.spectrograms[0])

    def inverse_alone(self) -> Step:
        """Return a step that computes only the inverse and its gradient."""
        length = self.target.shape[-1]
        return lambda: self._backward(
            lambda x: self.representation.inverse(x, length).sum(), self.spectrograms[0]
        )

    def terms(self, names: str, *, waveform: bool = False) -> Step:
        """Return a step that computes terms of a predicted spectrogram, or of a predicted waveform."""
        loss, representation = self._compose(names), self.representation
        source = self.prediction if waveform else self.spectrograms[0]
        target = Signal.from_waveform(self.target, representation, spectrogram=self.spectrograms[1])

        def total(x: Tensor) -> Tensor:
            make = Signal.from_waveform if waveform else Signal.from_spectrogram
            return loss(LossInputs(prediction=make(x, representation), target=target))["total"]

        return lambda: self._backward(total, source)

    def arithmetic(self, formula: Callable[[Pairs], Tensor]) -> Step:
        """Return a step that computes a formula of given magnitudes, and its gradient."""
        sides = self.prediction, self.target
        pairs = [[stft_magnitude(side, *resolution) for side in sides] for resolution in RESOLUTIONS]
        return lambda: formula((one.detach().requires_grad_(), other) for one, other in pairs).backward()

    def ffts(self) -> Step:
        """Return a step that computes only the FFTs: a real one per side, and an inverse one."""
        frames = [
            torch.randn(len(self.target), self.target.shape[-1] // hop + 1, n_fft, device=self.target.device)
            for n_fft, hop, _ in RESOLUTIONS
        ]

        def run() -> None:
            for frame in frames:
                for part in frame.split(max(1, 2**19 // frame[0].numel())):
                    torch.fft.rfft(part)
                    torch.fft.irfft(torch.fft.rfft(part), n=part.shape[-1])

        return run

    @staticmethod
    def _backward(loss: Callable[[Tensor], Tensor], source: Tensor) -> None:
        loss(source.clone().requires_grad_()).backward()


def descript() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the loss of descript-audiotools with the same FFT sizes, or None if it cannot be imported."""
    try:
        from audiotools import AudioSignal
        from audiotools.metrics.spectral import MultiScaleSTFTLoss
    except (ImportError, OSError):
        return None
    loss = MultiScaleSTFTLoss(window_lengths=[n_fft for n_fft, *_ in RESOLUTIONS])
    return lambda one, other: loss(AudioSignal(one, 44_100), AudioSignal(other, 44_100))


def timed(steps: dict[str, Step], runs: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each run of each step, with steps run alternately."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(runs + 2):
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return {name: values[2:] for name, values in times.items()}


def ratio(peers: list[float], own: list[float]) -> str:
    """Return the speed relative to a peer, the median over successive runs, formatted."""
    return f"{statistics.median(a / b for a, b in zip(peers, own, strict=True)):.2f}"


def time_rows(case: Case, runs: int, device: torch.device) -> list[list[str]]:
    """Return the rows of one size: name, milliseconds, speed relative to its peer."""
    steps = {
        "auraloss": case.plain(case.auraloss),
        "create_stft_loss": case.plain(case.distill),
        "FFTs": case.ffts(),
        "waveform": case.terms("waveform", waveform=True),
        "auraloss, flattened": case.flat_by_hand(),
        "stft": case.terms("stft"),
        "auraloss, inverse": case.inverse_by_hand(),
        "waveform, inverse": case.terms("waveform"),
        "inverse": case.inverse_alone(),
    }
    peers = {
        "create_stft_loss": "auraloss",
        "waveform": "auraloss",
        "stft": "auraloss, flattened",
        "waveform, inverse": "auraloss, inverse",
    }
    other = descript()
    if other is not None:
        steps["descript"] = case.plain(other)
        peers["descript"] = "auraloss"
    times = timed(steps, runs, device)
    names = {
        "auraloss": "auraloss `MultiResolutionSTFTLoss`",
        "create_stft_loss": "`create_stft_loss()`, on the same waveforms",
        "waveform": "term `waveform` of a predicted waveform, against the same",
        "descript": "descript-audiotools `MultiScaleSTFTLoss`, another formula of the same FFT sizes",
        "FFTs": "the FFTs alone: one real per side, one inverse",
        "auraloss, flattened": "auraloss on the flattened log-magnitude",
        "stft": "term `stft` of a predicted spectrogram, against that",
        "auraloss, inverse": "auraloss on the inverse of a predicted spectrogram",
        "waveform, inverse": "term `waveform` of that spectrogram, against that",
        "inverse": "that inverse alone, contained in both",
    }
    rows = [
        [text, f"{statistics.median(times[name]) * 1e3:.1f}",
         ratio(times[peers[name]], times[name]) if name in peers else ""]
        for name, text in names.items() if name in times
    ]  # fmt: skip
    return rows if other is not None else [*rows, [names["descript"], "does not import", ""]]


def share_rows(case: Case, runs: int, device: torch.device) -> list[list[str]]:
    """Return the costs that `waveform` and a term with the same magnitudes add to each other.

    They are relative to the cost of each term alone.
    """
    rows = []
    for name, text in (("log_distance", "L1 of the log magnitudes"), ("distance", "a spectral distance")):
        steps = {key: case.terms(key, waveform=True) for key in ("waveform", name, f"waveform,{name}")}
        steps["arithmetic"] = case.arithmetic(FORMULAS[name])
        times = [statistics.median(x) for x in timed(steps, runs, device).values()]
        waveform, other, both, _ = times
        rows.append([text, *(f"{x * 1e3:.1f}" for x in times),
                     f"{(both - waveform) / other:.0%}", f"{(both - other) / waveform:.0%}"])  # fmt: skip
    return rows


def make_step(case: Case, name: str) -> Step:
    """Return one of the steps whose memory is measured."""
    return {
        "auraloss": lambda: case.plain(case.auraloss),
        "create_stft_loss": lambda: case.plain(case.distill),
        "waveform": lambda: case.terms("waveform", waveform=True),
        "auraloss, flattened": case.flat_by_hand,
        "stft": lambda: case.terms("stft"),
    }[name]()


def peak(name: str, size: tuple[int, int], device: torch.device, threads: int) -> float:
    """Return the peak memory of a step in MB, in a new process."""
    torch.set_num_threads(threads)
    make_step(Case(1, 3000, device), name)()
    step = make_step(Case(*size, device), name)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()
        for _ in range(4):  # CUDA graphs are recorded in the third
            step()
        return (torch.cuda.max_memory_reserved() - before) / 1e6
    ctypes.CDLL(None).malloc_trim(0)  # else the step could reuse freed memory without being measured
    (held,) = re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    step()
    (high,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return (int(high) - int(held)) / 1e3


def memory_rows(size: tuple[int, int], device: torch.device, threads: int) -> list[list[str]]:
    """Return the peak memory of each step and its ratio to that of its peer."""
    peers = {"auraloss": "auraloss", "create_stft_loss": "auraloss", "waveform": "auraloss",
             "auraloss, flattened": "auraloss, flattened", "stft": "auraloss, flattened"}  # fmt: skip
    peaks = {}
    for name in peers:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks[name] = pool.apply(peak, (name, size, device, threads))
    return [[f"{size[0]} x {size[1]:,}", name, f"{peaks[name]:.0f}", f"{peaks[name] / peaks[of]:.0%}"]
            for name, of in peers.items()]  # fmt: skip


def accuracy_row(case: Case) -> list[str]:
    """Return the relative errors of both losses' float32 values and gradients, against float64 auraloss."""
    exact = peer().to(case.target.device)
    for each in exact.stft_losses:
        each.window = each.window.to(case.target).double()

    def result(loss: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        prediction, target = (x[:, None].to(dtype) for x in (case.prediction, case.target))
        value = loss(prediction.requires_grad_(), target)
        return value.detach(), torch.autograd.grad(value, prediction)[0]

    right = result(exact, torch.float64)
    errors = [
        f"{((one - other).norm() / other.norm()).item():.0e}"
        for loss in (case.auraloss, case.distill)
        for one, other in zip(result(loss, torch.float32), right, strict=True)
    ]
    return ["{} x {:,}".format(*case.target.shape), *errors]


def main() -> None:
    """Measure, print the tables, and optionally write them to a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one small size, and no memory: to see it run")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    blocks, accuracies = [], []
    sizes = [(2, 12_032)] if options.quick else SIZES
    for size in sizes:
        case = Case(*size, device)
        accuracies.append(accuracy_row(case))
        title = f"{size[0]} clips of {size[1]:,} samples"
        blocks.append(table([title, "ms", "times faster"], time_rows(case, options.runs, device)))
        head = [f"a term on the magnitudes of `waveform`, {size[0]} x {size[1]:,}", "`waveform` alone, ms",
                "it alone, ms", "both, ms", "its arithmetic, ms", "it adds, of its own",
                "`waveform` adds, of its own"]  # fmt: skip
        blocks.append(table(head, share_rows(case, options.runs, device)))
    if not options.quick:
        rows = [row for size in sizes for row in memory_rows(size, device, options.threads)]
        blocks.append(table(["clips", "peak memory, forward and backward", "MB", "of auraloss's"], rows))
    head = ["relative error in float32", "auraloss, value", "gradient", "Distill, value", "gradient"]
    blocks.append(table(head, accuracies))
    where = f"{machine(device)}, {options.threads} thread{'s' * (options.threads > 1)}"
    intro = (
        f"## Spectral losses, {options.device}\n\nMeasured by `python benchmarks/spectral.py "
        f"--threads {options.threads} --device {options.device} --runs {options.runs}` on {where}; torch "
        f"{torch.__version__}, auraloss 0.4.0. FFTs of 512, 1024 and 2048 samples, hops of a quarter; noise."
    )
    text = "\n\n".join([intro, *blocks])
    print(text)
    if options.write is not None:
        write_section(options.write, f"spectral {options.device}", text)


if __name__ == "__main__":
    main()
