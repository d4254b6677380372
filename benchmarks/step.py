"""What a training step costs, and what the loss takes of it, term by term.

Run: python benchmarks/step.py [--loss LIST] [--threads N] [--rate HZ] [--device cpu|cuda]

The parts are timed in turn in one process, each the median of several runs: the clips (drawn and
augmented), the representation, the model alone, each term alone on the model's output (forward and
backward, through the inverse where it looks at the waveform), all of them together, and the optimizer.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from distill import LossInputs, Posterior, Registry, Signal
from distill.assembly import make_accelerator, make_model, make_representation, open_recipe_corpus
from distill.augmentation import augment, drawn_samples
from distill.composer import CombinedLoss
from distill.recipe import read_recipe
from distill.trainer import clip_samples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loss", help="by default the terms, and weights, of a recipe that names none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=int, default=44_100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    tree = {
        "representation": {"sample_rate": options.rate},
        "training": {"device": options.device, "precision": options.precision},
    }
    draft = read_recipe(tree, Registry(), loss=options.loss)
    recipe, settings = draft.recipe, draft.recipe.training
    accelerator = make_accelerator(settings)
    device = accelerator.device
    representation = make_representation(recipe.representation).to(device)
    model = make_model(recipe.model, representation, 0).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    clips = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as runs:
        corpus = open_recipe_corpus(recipe.corpus, representation.sample_rate, Path(runs))
        samples = clip_samples(settings, representation, model)
        audio = settings.batch_size * samples / representation.sample_rate

        def draw() -> torch.Tensor:
            drawn = corpus.train.draw(settings.batch_size, drawn_samples(samples, settings.speed), clips)
            return augment(
                drawn,
                samples,
                speed=settings.speed,
                gain_db=settings.gain_db,
                mix=settings.mix,
                generator=clips,
            ).to(device)

        waveform = draw()
        spectrogram = representation(waveform)
        noise = torch.randn(
            settings.batch_size, model.latent_size, model.latent_frames(spectrogram.shape[-1]), device=device
        )

        def apart(loss: CombinedLoss, made: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> None:
            inputs = LossInputs(
                prediction=Signal.from_spectrogram(made, representation, iterations=settings.reconciliations),
                target=Signal.from_waveform(waveform, representation, spectrogram=spectrogram),
                posterior=Posterior(mu=mu, logvar=logvar),
                progress=1.0,
            )
            loss(inputs)["total"].backward()

        made = [x.detach().requires_grad_() for x in model(spectrogram, noise)]

        def train_model() -> None:
            with accelerator.autocast():
                outputs = model(spectrogram, noise)
            torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])

        def update() -> None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
            optimizer.step()

        loss = CombinedLoss(draft.terms, recipe.loss).to(device)
        parts: dict[str, Callable[[], object]] = {
            "clips": draw,
            "representation": lambda: representation(waveform),
            "model": train_model,
            "loss": lambda: apart(loss, *made),
            "optimizer": update,
        }
        alone = {term.name: CombinedLoss((term,), recipe.loss).to(device) for term in draft.terms}
        parts |= {f"  {name} alone": lambda one=one: apart(one, *made) for name, one in alone.items()}
        medians = time_in_turn(parts, options.runs, device)
    step = sum(value for name, value in medians.items() if not name.startswith(" "))
    terms = ",".join(term.name for term in draft.terms)
    print(f"{terms}; {settings.batch_size} clips, {audio:.1f} s of audio at {options.rate} Hz a step")
    print(f"{device}, bfloat16: {accelerator.mixed_precision == 'bf16'}, {options.threads} threads, "
          f"torch {torch.__version__}")  # fmt: skip
    for name, value in medians.items():
        print(f"{name:24}{value * 1e3:8.1f} ms{value / step:8.0%} of the step")
    print(f"{'step':24}{step * 1e3:8.1f} ms{audio / step:8.1f} s of audio per second")


def time_in_turn(parts: dict[str, Callable[[], object]], runs: int, device: torch.device) -> dict[str, float]:
    """Give the median seconds of each part, the parts taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(runs + 2):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


if __name__ == "__main__":
    main()
