"""Tests of distill.functional, against auraloss, torch.distributions, and figures kept in golden/."""

import json
from pathlib import Path

import pytest
import torch
from auraloss.freq import MultiResolutionSTFTLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from distill import functional
from distill.config import assign, structure
from distill.errors import ShapeError
from distill.functional import LossConfig
from distill.plugin.builtin_terms import KlConfig, ReconstructionConfig, StftConfig

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
CASES = ["case0", "case1", "case2"]


def noise(*shape, seed=0):
    """Make normal noise of a given shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def auraloss_of(config):
    """Make auraloss's loss at the same resolutions."""
    return MultiResolutionSTFTLoss(config.fft_sizes, config.hop_sizes, config.win_lengths)


def golden_case(name):
    """Load the inputs, the config, the weight of the KL and the expected figures of a case."""
    case, tensors = EXPECTED[name], load_file(GOLDEN / f"{name}.safetensors")
    tree = {}
    for address, value in case["config"].items():
        assign(tree, address, value)
    config = structure(tree, LossConfig)
    return tensors, config, case["kl_weight"], case["expected"]


def golden_gradients(name, stft_loss=None):
    """Return the components of a case and the norms of its gradients."""
    tensors, config, kl_weight, _ = golden_case(name)
    inputs = {key: tensors[key].requires_grad_() for key in ("reconstruction", "mu", "logvar")}
    recon, mu, logvar = inputs.values()
    components = functional.compute_combined_loss(
        recon, tensors["target"], mu, logvar, config, kl_weight, stft_loss
    )
    components["total_loss"].backward()
    norms = {f"grad_norm_{key}": tensor.grad.norm().item() for key, tensor in inputs.items()}
    return {key: value.item() for key, value in components.items()}, norms


@pytest.mark.parametrize("name", CASES)
def test_the_combined_loss_equals_the_golden_values(name):
    """Every component is the one on record, and no other is returned."""
    components, _ = golden_gradients(name)
    *_, expected = golden_case(name)
    assert list(components) == [
        "total_loss",
        "stft_loss",
        "mag_recon_loss",
        "if_recon_loss",
        "kl_loss",
        "recon_loss",
    ]
    assert components == pytest.approx({key: expected[key] for key in components}, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_combined_loss_equals_the_golden_gradients(name):
    """The norm of every gradient is the one on record, as far as float32 settles it."""
    _, norms = golden_gradients(name)
    *_, expected = golden_case(name)
    # Some STFT bins of these reconstructions are nearly 0, where the gradient of the logarithm is
    # 1 / |X|: rounding in the FFT decides the norm. auraloss itself misses the record of case0 by 2e-5
    # and of case1 by 6e-4 on another machine than the one that made it (in float64 by 5e-5 and 2e-3), so
    # the next test holds the gradient against auraloss on this machine.
    tolerance = {"case0": 1e-3, "case1": 1e-3, "case2": 1e-5}[name]
    name = "grad_norm_reconstruction"
    assert norms.pop(name) == pytest.approx(expected[name], rel=tolerance)
    assert norms == pytest.approx({key: expected[key] for key in norms}, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_combined_loss_equals_auraloss_inside_the_same_formula(name):
    """With auraloss as its STFT loss it gives the same components and gradient norms, to 1e-5."""
    _, config, *_ = golden_case(name)
    components, norms = golden_gradients(name)
    expected, expected_norms = golden_gradients(name, auraloss_of(config.stft))
    assert components == pytest.approx(expected, rel=1e-5)
    assert norms == pytest.approx(expected_norms, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_plain_vae_loss_equals_the_golden_values(name):
    """The three values, and the KL without free bits, are those on record."""
    tensors, config, kl_weight, expected = golden_case(name)
    mu, logvar = tensors["mu"], tensors["logvar"]
    values = functional.vae_loss(
        tensors["reconstruction"], tensors["target"], mu, logvar, kl_weight, config.kl.free_bits
    )
    assert [value.item() for value in values] == pytest.approx(expected["vae_loss"], rel=1e-5)
    kl = functional.compute_kl_divergence(mu, logvar).item()
    assert kl == pytest.approx(expected["kl_divergence"], rel=1e-5)


def test_the_plain_vae_loss_by_default():
    """The KL has weight 1 and 0.1 free bits: ((2^2 + 0) / 2, 0.1 + 0.5) add up to 2.6."""
    values = functional.vae_loss(
        torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)
    )
    assert [value.item() for value in values] == pytest.approx([2.6, 2.0, 0.6])


@pytest.mark.parametrize("row", EXPECTED["kl_weight"]["rows"])
def test_the_kl_weight_of_an_epoch(row):
    """The weight equals the rows on record: linear over the warm-up, then constant."""
    *arguments, expected = row
    assert functional.get_kl_weight(*arguments) == pytest.approx(expected, rel=1e-5)


def test_the_frequency_distance_by_hand():
    """The distance of amplitudes 1 and 3 is as calculated by hand: (0.4 / 2 + 0.1 * 3/2) / 2."""
    error, amplitude = torch.tensor([[[0.4, -0.1]]]), torch.tensor([[[1.0, 3.0]]])
    assert functional.instantaneous_frequency_distance(error, amplitude).item() == pytest.approx(0.175)


def test_the_frequency_distance_keeps_the_scale_of_the_error():
    """The weights have mean 1 whatever the amplitudes: one error everywhere costs that error."""
    error, amplitude = torch.full((2, 5, 7), -0.25), noise(2, 5, 7).abs() * 1e-4
    assert functional.instantaneous_frequency_distance(error, amplitude).item() == pytest.approx(0.25)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_circular_frequency_distance_equals_its_formula(batch, bins, frames, seed):
    """Value and gradient equal the formula, in parts of any size and for any memory layout."""
    sides = noise(2, batch, frames, bins, seed=seed).clamp(-1, 1).mT
    amplitude = noise(batch, bins, frames, seed=seed + 1).abs()
    prediction = sides[0].clone().requires_grad_()
    error = prediction - sides[1]
    turns = torch.floor((error.detach() + 1) / 2)
    expected = functional.instantaneous_frequency_distance(error - 2 * turns, amplitude)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.spectral.parts._CACHED", 1 + seed)
        value = functional.circular_frequency_distance(prediction, sides[1], amplitude)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(each, prediction)[0] for each in (value, expected)]
    torch.testing.assert_close(*gradients)


def test_the_frequency_distance_of_silence_is_0():
    """The frequency distance of silence is 0."""
    error = noise(1, 3, 4).requires_grad_()
    distance = functional.instantaneous_frequency_distance(error, torch.zeros(1, 3, 4))
    distance.backward()
    assert distance == 0
    assert (error.grad == 0).all()


def test_the_kl_divergence_by_hand():
    """A mean of 1 costs 1/2 nat; log-variance 1 costs (e - 2) / 2; summed over D, averaged over B."""
    mu, logvar = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    expected = (0.5 + (torch.e - 2) / 2) / 2
    assert functional.kl_divergence(mu, logvar).item() == pytest.approx(expected)
    assert functional.compute_kl_divergence(mu, logvar).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 7)])
def test_the_kl_divergence_equals_torchs(shape):
    """It is torch.distributions' divergence, summed over D and averaged over everything else."""
    mu, logvar = noise(*shape), noise(*shape, seed=1)
    posterior = torch.distributions.Normal(mu, (logvar / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(functional.kl_per_dimension(mu, logvar), expected, rtol=1e-4, atol=1e-6)
    actual = functional.kl_divergence(mu, logvar)
    torch.testing.assert_close(actual, expected.sum(1).mean(), rtol=1e-5, atol=0)


def test_free_bits_count_per_element():
    """Costs of 0 and 1 nat count as 0.1 and 1, not as their mean of 0.5; what is free has no gradient."""
    mu = torch.tensor([[0.0], [2**0.5]], requires_grad=True)
    logvar = torch.zeros(2, 1, requires_grad=True)
    kl = functional.kl_divergence(mu, logvar, free_bits=0.1)
    kl.backward()
    assert kl.item() == pytest.approx((0.1 + 1.0) / 2)
    assert mu.grad.flatten().tolist() == pytest.approx([0.0, 2**0.5 / 2])
    nearby = torch.tensor([[0.3]], requires_grad=True)
    functional.kl_divergence(nearby, torch.zeros(1, 1), free_bits=0.1).backward()
    assert nearby.grad.item() == 0


def test_the_options_of_the_combined_loss_by_default():
    """They are the options of the terms."""
    assert LossConfig() == LossConfig(stft=StftConfig(), reconstruction=ReconstructionConfig(), kl=KlConfig())


def test_the_combined_loss_makes_its_stft_loss_from_the_config():
    """Passing the loss in changes nothing but the time, and what is passed in is what is used."""
    config = LossConfig(stft=StftConfig(fft_sizes=(32,), hop_sizes=(8,), win_lengths=(24,)))
    recon, target = noise(2, 2, 5, 20).abs(), noise(2, 2, 5, 20, seed=1).abs()
    posterior = torch.zeros(2, 4), torch.zeros(2, 4)
    made = functional.compute_combined_loss(recon, target, *posterior, config, 0.0)
    stft_loss = functional.create_stft_loss(config.stft)
    assert functional.compute_combined_loss(recon, target, *posterior, config, 0.0, stft_loss) == made
    other = functional.compute_combined_loss(recon, target, *posterior, config, 0.0, torch.nn.L1Loss())
    assert other["stft_loss"] == other["mag_recon_loss"]


LATENT = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: functional.create_stft_loss()(torch.zeros(2, 1, 9), torch.zeros(1, 1, 9)),
            (
                "prediction and target must share the shape [B, C, N], and not be empty: "
                "got [2, 1, 9] and [1, 1, 9]"
            ),
        ),
        (
            lambda: functional.create_stft_loss()(torch.zeros(2, 9), torch.zeros(2, 9)),
            (
                "prediction and target must share the shape [B, C, N], and not be empty: "
                "got [2, 9] and [2, 9]\n"
                "Add a channel, [B, 1, N]: waveform.unsqueeze(1)."
            ),
        ),
        (
            lambda: functional.compute_combined_loss(
                torch.zeros(2, 2, 3, 4), torch.zeros(1, 2, 3, 4), LATENT, LATENT, LossConfig(), 1.0
            ),
            "recon and target must share the shape [B, 2, F, T]: got [2, 2, 3, 4] and [1, 2, 3, 4]",
        ),
        (
            lambda: functional.compute_combined_loss(
                torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), LATENT, LATENT, LossConfig(), 1.0
            ),
            "recon and target must share the shape [B, 2, F, T]: got [2, 1, 3, 4] and [2, 1, 3, 4]",
        ),
        (
            lambda: functional.compute_combined_loss(
                torch.zeros(2, 2, 4), torch.zeros(2, 2, 4), LATENT, LATENT, LossConfig(), 1.0
            ),
            "recon and target must share the shape [B, 2, F, T]: got [2, 2, 4] and [2, 2, 4]",
        ),
        (
            lambda: functional.vae_loss(torch.zeros(2, 5), torch.zeros(5), LATENT, LATENT),
            "reconstruction and target must share the shape [B, ...]: got [2, 5] and [5]",
        ),
        (
            lambda: functional.compute_kl_divergence(LATENT, LATENT[:1]),
            "mu and logvar must share the shape [B, D] or [B, D, T']: got [2, 3] and [1, 3]",
        ),
        (
            lambda: functional.kl_divergence(LATENT[0], LATENT[0]),
            "mu and logvar must share the shape [B, D] or [B, D, T']: got [3] and [3]",
        ),
    ],
)
def test_nothing_is_broadcast_in_silence(call, message):
    """Shapes that do not belong together are an error that shows both."""
    with pytest.raises(ShapeError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(0, 1, 300), (2, 0, 300), (2, 1, 0)])
def test_the_stft_loss_of_nothing_is_an_error(shape):
    """The last batch of a loop may be empty: FFTs fail without naming it, and a loss of 0 would hide it."""
    with pytest.raises(ShapeError) as caught:
        functional.create_stft_loss()(torch.zeros(shape), torch.zeros(shape))
    assert str(caught.value) == (
        "prediction and target must share the shape [B, C, N], and not be empty: "
        f"got {list(shape)} and {list(shape)}"
    )
