"""Tests of distill.model.memory: what a recipe needs is known before it is allocated."""

import pytest
import torch

from distill.config.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import ConfigError
from distill.model.building import make_model, make_representation
from distill.model.memory import Sizes
from distill.training.batches import predict


@pytest.mark.parametrize("settings", [ModelSettings(width=16), ModelSettings(code="compact", fine_width=16)])
def test_the_sizes_are_those_of_the_model(settings):
    """The sizes list names, shapes and bytes of all weights, none of which has a value."""
    transform = RepresentationSettings(n_fft=256, hop=64, sample_rate=8000)
    sizes = Sizes(settings, transform)
    state = make_model(settings, make_representation(transform), seed=0).state_dict()
    assert {name: value.shape for name, value in sizes.weights.items()} == {
        name: value.shape for name, value in state.items()
    }
    assert sizes.bytes == 4 * sum(value.numel() for value in state.values())
    assert {value.device for value in sizes.weights.values()} == {torch.device("meta")}


def test_the_default_recipe_fits():
    """The default recipe trains on a machine of 2 GB."""
    sizes = Sizes(ModelSettings(), RepresentationSettings())
    sizes.require_sounds()
    sizes.require_training(TrainingSettings())


def test_the_largest_model_is_refused():
    """A model with all sizes at their bounds is refused at once, with the memory that it needs."""
    blocks = {"encoder_blocks": (64, 64), "decoder_blocks": (64, 64)}
    with pytest.raises(ConfigError) as caught:
        Sizes(ModelSettings(width=4096, fine_width=4096, expansion=16, **blocks), RepresentationSettings())
    assert str(caught.value).startswith(
        "recipe: its model needs 550 GB of memory at least, and this machine has "
    )


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"batch_size": 65_536}, "a batch of its training needs "),
        ({"batch_size": 512, "clip_seconds": 600.0}, "a batch of its training needs "),
    ],
)
def test_a_batch_that_no_machine_holds(training, words):
    """A batch is refused where each number is allowed but both together are too large."""
    sizes = Sizes(ModelSettings(), RepresentationSettings())
    with pytest.raises(ConfigError) as caught:
        sizes.require_training(TrainingSettings(**training))
    assert words in str(caught.value)
    assert "Lower training.batch_size or training.clip_seconds" in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_estimate_is_from_below(monkeypatch, precision):
    """A batch is accepted where memory holds exactly what training with a fixed encoder needs."""
    representation, held = make_representation(RepresentationSettings()), {}
    vae = make_model(ModelSettings(), representation, 0)
    for parameter in vae.encoder_parameters():  # as it is by default
        parameter.requires_grad_(False)

    def hold(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with (
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
        torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor),
    ):
        made = predict(vae, representation, torch.randn(2, 33_000), None, iterations=0, progress=0.0)
    needed = sum(storage.nbytes() for storage in held.values())
    needed += 4 * sum(parameter.numel() for parameter in vae.encoder_parameters())
    needed += 4 * 3 * sum(parameter.numel() for parameter in vae.parameters() if parameter.requires_grad)
    needed += 2 * sum(source.nbytes for source in made.prediction.sources)  # with its gradient
    assert made.prediction.sources[0].requires_grad
    monkeypatch.setattr("distill.model.memory.machine_memory", lambda: needed)
    training = TrainingSettings(batch_size=2, precision=precision)
    Sizes(ModelSettings(), RepresentationSettings()).require_training(training)
