"""Measurement of each loss term's computation time and of its gradient.

Shapes: `B` clips in a batch, `K` terms.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

import torch
from accelerate import Accelerator
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import Split, Stream
from distill.audio.progress import Progress
from distill.config.settings import TrainingSettings
from distill.errors import TermError
from distill.loss.composer import CombinedLoss
from distill.loss.faults import fault_of
from distill.model import VAE
from distill.model.building import make_model, make_representation
from distill.model.loading import load_model
from distill.model.memory import Sizes
from distill.plugin.foreign import undisturbed
from distill.recipe import Draft
from distill.spectral.representation import MagnitudeIF
from distill.storage.run import Run
from distill.system.stopping import is_stop
from distill.training.batches import begin, clip_samples, draw_clips, draw_noise, predict
from distill.training.building import load_terms, make_loss, open_recipe_corpus
from distill.training.devices import make_accelerator
from distill.training.differentiating import Places, flat, inner_products
from distill.training.gradients import Gradients
from distill.training.starting import Start, start
from distill.views import LossInputs

R = TypeVar("R")


@frozen(kw_only=True)
class Cost:
    """The unweighted value of a term computed alone, and its forward and backward times in milliseconds.

    The value is the mean over the batches, the times are medians.
    """

    value: float
    forward: float
    backward: float


@frozen(kw_only=True)
class Profile:
    """The costs of a loss's terms by name, and their gradients.

    `keeps_latents` says that the training changes nothing that the posterior depends on.
    """

    costs: dict[str, Cost]
    gradients: Gradients
    keeps_latents: bool = False


def profile_recipe(
    draft: Draft, run: Run | None, *, batches: int, on_progress: Callable[[Progress], None]
) -> Profile:
    """Profile the terms of a recipe with the model of a run or, without a run, with the initial model.

    `on_progress` is called while recordings are decoded, and with each batch that is measured.

    Raises:
        DistillError: the recipe, its corpus or the run is not valid.
        TermError: the value or gradient of a term is not finite.
    """
    recipe = draft.recipe
    accelerator = make_accelerator(recipe.training)
    Sizes(recipe.model, recipe.representation).require_training(recipe.training)
    recordings = open_recipe_corpus(
        recipe.corpus,
        recipe.representation.sample_rate,
        run.folder.resolve().parent if run else Path("runs"),
        lambda done, total: on_progress(Progress(stage="decoding", done=done, total=total)),
        seed=recipe.training.seed,
    ).train
    on_progress(Progress(stage="measuring", done=0, total=batches))
    loss = make_loss(draft, recipe.training.seed)
    settings = recipe.training
    if run:
        model, representation = load_model(run)
        load_terms(run, loss)
        model.keeps_code = Start.recorded(run).keeps_code
    else:
        representation = make_representation(recipe.representation).to(accelerator.device)
        model = make_model(recipe.model, representation, recipe.training.seed)
        begun = start(model, recipe)
        settings, model.keeps_code = begun.settled(settings, model), begun.keeps_code
        model = model.to(accelerator.device)
        begin(model, representation, recordings, begun.codes)
    return profile(
        loss,
        model=model,
        representation=representation,
        recordings=recordings,
        settings=settings,
        accelerator=accelerator,
        batches=batches,
        on_progress=on_progress,
    )


def profile(
    loss: CombinedLoss,
    *,
    model: VAE,
    representation: MagnitudeIF,
    recordings: Split | Stream,
    settings: TrainingSettings,
    accelerator: Accelerator,
    batches: int,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Profile:
    """Measure every term on training batches, with the schedules at the end of training.

    Each term is computed alone, so that its time includes all its views and no term reuses those of another.
    No parameter is trained. One additional batch serves as a warm-up and is not measured.

    Raises:
        TermError: the value or gradient of a term is not finite.
    """
    device = accelerator.device
    model, representation, loss = model.to(device).train(), representation.to(device), loss.to(device)
    samples = clip_samples(settings, representation, model)
    clips = torch.Generator().manual_seed(settings.seed)
    noise = torch.Generator(device).manual_seed(settings.seed)
    measured: list[dict[str, Cost]] = []
    outputs: list[Tensor] = []
    posteriors: list[Tensor] = []
    for number in range(batches + 1):
        waveform = draw_clips(recordings, settings, samples, clips, device=device)
        drawn = draw_noise(model, representation, len(waveform), samples, noise)
        iterations = settings.griffin_lim_iterations
        with accelerator.autocast():
            inputs = predict(model, representation, waveform, drawn, iterations=iterations, progress=1.0)
        costs, output, posterior = _measure(loss, inputs)
        if number:
            measured.append(costs)
            outputs.append(output)
            posteriors.append(posterior)
            on_progress(Progress(stage="measuring", done=number, total=batches))
    return Profile(
        costs={name: _typical([costs[name] for costs in measured]) for name in loss.origins},
        gradients=Gradients(
            names=tuple(loss.origins), output=torch.cat(outputs), posterior=torch.cat(posteriors)
        ),
        keeps_latents=settings.encoder_rate == 0 and (model.axes is None or model.keeps_code),
    )


def _measure(loss: CombinedLoss, inputs: LossInputs) -> tuple[dict[str, Cost], Tensor, Tensor]:
    """Return each term's cost on a batch, and the gradients' inner products at output and posterior.

    Both sets of inner products are `[B, K, K]`.
    """
    # Terms get detached copies, which separate gradients at the posterior from those through the decoder.
    seen = inputs.detached()
    places = Places(
        outputs=tuple(output.requires_grad_() for output in seen.prediction.sources),
        posterior=(seen.posterior.mu.requires_grad_(), seen.posterior.logvar.requires_grad_()),
    )
    costs: dict[str, Cost] = {}
    at_output: list[Tensor] = []
    at_posterior: list[Tensor] = []
    for name, term in loss.origins.items():
        value, forward = _timed(inputs.device, partial(loss.unweighted, name, seen))
        try:
            with undisturbed():
                gradients, backward = _timed(inputs.device, partial(places.gradients_of, value))
        except torch.OutOfMemoryError:
            raise
        except BaseException as error:  # a backward pass may raise anything
            if is_stop(error):
                raise
            raise fault_of(term, error) from error
        costs[name] = Cost(value=value.item(), forward=forward, backward=backward)
        carried = _carried_back(inputs, gradients.outputs)
        at_output.append(flat(gradients.outputs))
        at_posterior.append(flat([a + b for a, b in zip(carried, gradients.posterior, strict=True)]))
        if not (value.isfinite() and at_output[-1].isfinite().all() and at_posterior[-1].isfinite().all()):
            raise TermError(
                "its value or its gradient is not finite on clips of this corpus",
                culprit=str(term),
                remedy=f"See what breaks it: distill losses check {name}",
            )
    return costs, inner_products(at_output).cpu().double(), inner_products(at_posterior).cpu().double()


def _carried_back(inputs: LossInputs, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Backpropagate gradients at the decoder's outputs to `mu` and `logvar`."""
    outputs, posterior = inputs.prediction.sources, (inputs.posterior.mu, inputs.posterior.logvar)
    return torch.autograd.grad(outputs, posterior, gradients, retain_graph=True)


def _timed(device: torch.device, call: Callable[[], R]) -> tuple[R, float]:
    """Return the result of a call, and the milliseconds until the device has completed it."""
    began = time.perf_counter()
    result = call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return result, 1e3 * (time.perf_counter() - began)


def _typical(costs: Sequence[Cost]) -> Cost:
    return Cost(
        value=fmean(cost.value for cost in costs),
        forward=median(cost.forward for cost in costs),
        backward=median(cost.backward for cost in costs),
    )
