"""Measure what watching for numbers that are not finite, and for ill health, costs in a training step.

    python benchmarks/watching.py --steps 200
    python benchmarks/watching.py --steps 40 --gradients --loss stft,recon,kl --encoder-rate 1

It times, in one process and in turn, steps as they are and steps in which nothing is watched: no states of
generators are kept, no flags and no values, no buffers, and nothing of health. It prints the medians.

With `--gradients`, it times steps with and without the measurement of the terms' gradients instead. It prints
what share of the time that is at the default of `training.gradient_every`, and how much memory the process
needs at most, without and with it.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from distill.audio.corpus import open_corpus, write_demo_corpus
from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.run import Run
from distill.training.building import make_loss
from distill.training.devices import make_accelerator
from distill.training.trainer import Trainer

TINY = {
    "representation": {"sample_rate": 8000, "n_fft": 256, "hop": 64},
    "model": {"latents_per_second": 250, "width": 16, "fine_width": 8},
    "training": {"batch_size": 2, "clip_seconds": 0.2},
}


def make(folder: Path, tree: dict[str, dict[str, object]], device: str, loss: str | None = None) -> Trainer:
    """Return a trainer on the demo corpus, by default with the default loss."""
    training = {**tree.get("training", {}), "steps": 10**6, "start": "none", "device": device}
    recipe_tree = {**tree, "training": training}
    draft = read_recipe(recipe_tree, Registry(discover=False), loss=loss)
    recipe = draft.recipe
    representation = make_representation(recipe.representation)
    corpus = open_corpus(
        write_demo_corpus(folder / "demo"),
        sample_rate=recipe.representation.sample_rate,
        cache=folder / "cache",
        heldout_fraction=0.1,
    )
    trainer = Trainer(
        recipe.training,
        make_accelerator(recipe.training),
        model=make_model(recipe.model, representation, 0),
        representation=representation,
        loss=make_loss(draft, 0),
        corpus=corpus,
        run=Run(folder / "run"),
        report=lambda _: None,
        warn=lambda *_: None,
    )
    trainer.model = trainer.accelerator.prepare_model(trainer.vae)
    return trainer


def watched(trainer: Trainer) -> None:
    """Take a step as in training; look at it every tenth time, as records do."""
    trainer._try_step()  # noqa: SLF001  # the step alone, without records
    if trainer.step % 10 == 0:
        trainer.look()


def unwatched(trainer: Trainer) -> None:
    """Take the same step without watching."""
    trainer.vae.train()
    trainer.loss.train()
    drawn = trainer.draw_clips(), trainer.draw_noise()
    inputs = trainer._predict(trainer.model, *drawn, trainer.progress)  # noqa: SLF001  # as above
    components = trainer.loss(inputs)
    components = components | trainer.optimization.differentiate(components)
    nothing = torch.zeros((), device=trainer.accelerator.device)
    trainer._window.add(components, nothing)  # noqa: SLF001  # as above
    trainer.optimization.step(trainer.step, trainer.progress, nothing)
    trainer.step += 1


def measured_gradients(trainer: Trainer, steps: int, clock: Callable[[], float]) -> str:
    """Return what measuring the gradients of the terms costs."""
    default = trainer.gradients.every
    times: dict[int, list[float]] = {0: [], 1: []}
    memory = {}
    for every in (0, 1):  # what one kind needs at most is known only before the other has begun
        for _ in range(steps // 2):
            trainer.gradients.every = every
            watched(trainer)
        memory[every] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in range(steps):
        for every, taken in times.items():
            trainer.gradients.every = every
            began = clock()
            watched(trainer)
            taken.append(1e3 * (clock() - began))
    plain, measuring = (median(taken) for taken in times.values())
    return (
        f"step: {plain:.1f} ms, {measuring:.1f} ms with the gradients of {len(trainer.loss.origins)} terms; "
        f"every {default} steps: {100 * (measuring / plain - 1) / default:.2f} % of the time; "
        f"at most {memory[0]:.0f} MB, {memory[1]:.0f} MB with them"
    )


def main() -> None:
    """Print the medians of both kinds of steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="a model so small that little else takes time")
    parser.add_argument("--gradients", action="store_true", help="time the gradients of the terms")
    parser.add_argument("--loss")
    parser.add_argument("--encoder-rate", type=float, default=1.0, help="0: a frozen encoder")
    options = parser.parse_args()
    tree = TINY if options.tiny else {}
    rate = {"training": {**tree.get("training", {}), "encoder_rate": options.encoder_rate}}
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(Path(folder), {**tree, **rate}, options.device, options.loss)
        times: dict[Callable[[Trainer], None], list[float]] = {watched: [], unwatched: []}
        clock = time.process_time if options.device == "cpu" else time.perf_counter  # others may use the CPU
        if options.gradients:
            print(measured_gradients(trainer, options.steps, clock))
            return
        for _ in range(options.steps):
            for step, taken in times.items():
                began = clock()
                step(trainer)
                if options.device != "cpu":
                    torch.accelerator.synchronize()
                taken.append(1e3 * (clock() - began))
    one, other = median(times[watched][5:]), median(times[unwatched][5:])
    print(f"step: {one:.2f} ms watched, {other:.2f} ms unwatched: {100 * (one / other - 1):+.1f} %")


if __name__ == "__main__":
    main()
