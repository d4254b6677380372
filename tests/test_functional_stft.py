"""The STFT loss and the distance of spectra equal auraloss and what autograd gives."""

import math
import warnings

import attrs
import pytest
import torch
from auraloss.freq import MultiResolutionSTFTLoss, STFTLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from distill import functional
from distill.errors import ConfigError
from distill.loss.config import configure
from distill.plugin.builtin_terms import KlConfig, StftConfig
from distill.plugin.registry import Registry


def noise(*shape, seed=0):
    """Make normal noise of a given shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def auraloss_of(config):
    """Make auraloss's loss at the same resolutions."""
    return MultiResolutionSTFTLoss(config.fft_sizes, config.hop_sizes, config.win_lengths)


def value_and_gradient(loss, prediction, target):
    """Return a loss and its gradient at the prediction."""
    prediction = prediction.clone().requires_grad_()
    value = loss(prediction, target)
    return value.item(), torch.autograd.grad(value, prediction)[0]


def assert_equal_to_auraloss(config, prediction, target):
    """Compare value and gradient to 1e-5; return the gradient."""
    value, gradient = value_and_gradient(functional.create_stft_loss(config), prediction, target)
    expected_value, expected = value_and_gradient(auraloss_of(config), prediction, target)
    assert value == pytest.approx(expected_value, rel=1e-5, abs=1e-7)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()
    return gradient


@st.composite
def resolutions(draw):
    """Draw the sizes of up to three resolutions, odd ones and hops that divide nothing among them."""
    sizes = []
    for _ in range(draw(st.integers(1, 3))):
        n_fft = draw(st.integers(4, 80))
        window = draw(st.integers(3, n_fft))
        sizes.append((n_fft, draw(st.integers(1, window)), window))
    n_ffts, hops, windows = zip(*sizes, strict=True)
    return StftConfig(fft_sizes=n_ffts, hop_sizes=hops, win_lengths=windows)


def auraloss_in_double(config):
    """Make auraloss's loss for float64, with the same windows."""
    loss = auraloss_of(config)
    for each in loss.stft_losses:
        each.window = each.window.double()
    return loss


@settings(max_examples=80, deadline=None)
@given(
    resolutions(),
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 150)),
    st.sampled_from([(1, 1), (1, 1), (0, 1), (1, 0), (0, 0)]),
    st.sampled_from([1, 60, 500, 2**19]),
    st.integers(0, 99),
)
def test_the_stft_loss_equals_auraloss(config, size, levels, numbers, seed):
    """Value and gradients are auraloss's for any shape that it takes, with silence on either side.

    In float64: where a bin of the noise is nearly 0, float32 would compare one rounding with another.
    """
    batch, channels, extra = size
    shape = (batch, channels, max(config.fft_sizes) // 2 + extra)
    sides = [level * noise(*shape, seed=seed + i).double() for i, level in enumerate(levels)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.spectral.parts._CACHED", numbers)
        value, gradient = value_and_gradient(functional.create_stft_loss(config), *sides)
    expected_value, expected = value_and_gradient(auraloss_in_double(config), *sides)
    assert value == pytest.approx(expected_value, rel=1e-8, abs=1e-12)
    assert (gradient - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("per_example", [False, True])
def test_the_gradient_of_the_stft_loss_at_the_target(per_example):
    """A target is differentiated where it asks for it, and the prediction's gradient stays what it was."""
    config = StftConfig(fft_sizes=(64, 30), hop_sizes=(16, 7), win_lengths=(64, 20), per_example=per_example)
    prediction, target = (noise(2, 1, 300, seed=seed).double().requires_grad_() for seed in (0, 1))
    loss = functional.create_stft_loss(config)
    of_both = torch.autograd.grad(loss(prediction, target), (prediction, target))
    (of_prediction,) = torch.autograd.grad(loss(prediction, target.detach()), prediction)
    torch.testing.assert_close(of_both[0], of_prediction)
    if not per_example:
        expected = torch.autograd.grad(auraloss_in_double(config)(prediction, target), target)
        torch.testing.assert_close(of_both[1:], expected)


def test_the_stft_loss_keeps_little():
    """Besides its inputs it keeps one gradient per resolution, no spectrum: 3 numbers a sample."""
    kept = {}
    prediction, target = noise(2, 1, 20_000).requires_grad_(), noise(2, 1, 20_000, seed=1)
    own = {side.untyped_storage().data_ptr() for side in (prediction, target)}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = functional.create_stft_loss()(prediction, target)
    fresh = sum(count for place, count in kept.items() if place not in own)
    assert value.requires_grad
    assert 3 * prediction.numel() <= fresh <= 3.5 * prediction.numel()


SMALL = StftConfig(fft_sizes=(16, 9), hop_sizes=(4, 3), win_lengths=(16, 7))


@pytest.fixture(params=[False, True], ids=["whole batch", "per example"])
def small_loss(request):
    """Make the STFT loss at two tiny resolutions, over the batch and per example."""
    return functional.create_stft_loss(attrs.evolve(SMALL, per_example=request.param))


def sides(seed=0):
    """Make a prediction and a target `[2, 1, 20]` in float64."""
    return tuple(noise(2, 1, 20, seed=seed + i).double() for i in range(2))


def test_the_stft_loss_has_second_derivatives(small_loss):
    """A Hessian-vector product is that of finite differences of the gradient, as a gradient penalty needs."""
    prediction, target = sides()
    direction, step = noise(2, 1, 20, seed=2).double(), 1e-6

    def slope(x):
        (gradient,) = torch.autograd.grad(small_loss(x, target), x, create_graph=True)
        return (gradient * direction).sum()

    at = prediction.clone().requires_grad_()
    (product,) = torch.autograd.grad(slope(at), at)
    moved = [(prediction + sign * step * direction).requires_grad_() for sign in (1, -1)]
    gradients = [torch.autograd.grad(small_loss(x, target), x)[0] for x in moved]
    expected = (gradients[0] - gradients[1]) / (2 * step)
    assert (product - expected).norm() <= 1e-6 * expected.norm()


def test_the_gradients_of_both_sides_of_the_stft_loss_are_differentiable(small_loss):
    """The checks of torch of first and second derivatives pass, the target being differentiated as well."""
    inputs = [side[..., :12].clone().requires_grad_() for side in sides()]
    assert torch.autograd.gradcheck(small_loss, inputs)
    assert torch.autograd.gradgradcheck(small_loss, inputs, fast_mode=True)


def test_the_gradient_with_a_graph_is_the_gradient(small_loss):
    """What `create_graph=True` gives equals what it gives without, in the precision of training."""
    prediction, target = (side.float() for side in sides())
    prediction.requires_grad_()
    value = small_loss(prediction, target)
    (fast,) = torch.autograd.grad(value, prediction, retain_graph=True)
    (graph,) = torch.autograd.grad(value, prediction, create_graph=True)
    assert graph.requires_grad
    torch.testing.assert_close(graph.detach(), fast, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_the_stft_loss_can_be_transformed(small_loss):
    """`torch.func` gives the values and gradients that calls one by one give."""
    prediction, target = sides()
    value, gradient = value_and_gradient(small_loss, prediction, target)
    torch.testing.assert_close(torch.func.grad(small_loss)(prediction, target), gradient)
    got, change = torch.func.jvp(lambda x: small_loss(x, target), (prediction,), (gradient,))
    assert got.item() == pytest.approx(value)
    assert change.item() == pytest.approx(gradient.square().sum().item())
    each = [
        value_and_gradient(small_loss, x, y)
        for x, y in zip(prediction[:, None], target[:, None], strict=True)
    ]
    mapped = torch.func.vmap(torch.func.grad_and_value(small_loss))(prediction[:, None], target[:, None])
    torch.testing.assert_close(mapped[0], torch.stack([gradient for _, gradient in each]))
    assert mapped[1].tolist() == pytest.approx([value for value, _ in each])


def test_gradients_of_the_stft_loss_can_be_mapped(small_loss):
    """`torch.vmap` over a backward pass gives what the passes one by one give."""
    prediction, target = sides()
    prediction.requires_grad_()
    value = small_loss(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction, retain_graph=True)
    factors = torch.tensor([1.0, -2.0], dtype=torch.float64)
    mapped = torch.vmap(lambda x: torch.autograd.grad(value, prediction, x, retain_graph=True)[0])(factors)
    torch.testing.assert_close(mapped, torch.stack([gradient, -2 * gradient]))


def test_forward_mode_differentiates_the_stft_loss(small_loss):
    """A dual tensor of torch's gives the change of the value."""
    prediction, target = sides()
    _, gradient = value_and_gradient(small_loss, prediction, target)
    with forward_ad.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, which torch itself uses here
        value = small_loss(forward_ad.make_dual(prediction, gradient), target)
        change = forward_ad.unpack_dual(value).tangent
    assert change.item() == pytest.approx(gradient.square().sum().item())


def test_the_stft_loss_can_be_compiled():
    """Compiled whole, without a break, value and gradient are those of the engine."""
    small_loss = functional.create_stft_loss(SMALL)
    prediction, target = (side.float() for side in sides())
    compiled = torch.compile(small_loss, fullgraph=True, backend="aot_eager")
    value, gradient = value_and_gradient(compiled, prediction, target)
    expected_value, expected = value_and_gradient(small_loss, prediction, target)
    assert value == pytest.approx(expected_value, rel=1e-5)
    assert (gradient - expected).norm() <= 1e-4 * expected.norm()


def test_the_stft_loss_can_be_exported():
    """The exported program gives the loss's value."""
    loss, (prediction, target) = functional.create_stft_loss(SMALL), sides()
    program = torch.export.export(loss, (prediction, target)).module()
    assert program(prediction, target).item() == pytest.approx(loss(prediction, target).item())


@pytest.mark.parametrize("per_example", [False, True])
def test_the_engines_have_the_same_values_and_gradients(per_example):
    """Engines agree for clips long enough for auraloss, for shorter ones and in half precision."""
    config = attrs.evolve(SMALL, per_example=per_example)
    for make in (lambda x: x, lambda x: x[..., :3], lambda x: x.float().half()):
        inputs = [make(side) for side in sides()]
        results = [
            value_and_gradient(functional.create_stft_loss(attrs.evolve(config, engine=engine)), *inputs)
            for engine in ("auto", "fast", "auraloss")
        ]
        for value, gradient in results[1:]:
            assert value == pytest.approx(results[0][0], rel=1e-5)
            torch.testing.assert_close(gradient, results[0][1], rtol=1e-2, atol=1e-4)


def test_the_engine_auraloss_is_auralosss():
    """The value is to the last bit that of auraloss's own loss, which is what computes it."""
    loss = functional.create_stft_loss(attrs.evolve(SMALL, engine="auraloss"))
    prediction, target = (side.float() for side in sides())
    flat = [side.flatten(0, 1)[:, None] for side in (prediction, target)]
    each = [STFTLoss(*resolution)(*flat) for resolution in SMALL.resolutions]
    assert loss(prediction, target) == torch.stack(each).mean()
    assert loss.state_dict() == {}


def test_the_engine_fast_refuses_what_it_cannot_do():
    """It does not turn into another one: the error says which to choose."""
    loss = functional.create_stft_loss(attrs.evolve(SMALL, engine="fast"))
    with pytest.raises(ConfigError) as caught:
        torch.func.grad(loss)(*sides())
    assert str(caught.value) == (
        "engine: the engine 'fast' cannot be compiled, exported or transformed by torch.func\n"
        "Set it to 'auto', which takes plain torch operations there, or to 'auraloss'."
    )


def test_the_stft_loss_equals_auraloss_by_default():
    """The default resolutions are 512, 1024 and 2048 with a hop of a quarter."""
    expected = MultiResolutionSTFTLoss([512, 1024, 2048], [128, 256, 512], [512, 1024, 2048])
    prediction, target = noise(2, 1, 4000), noise(2, 1, 4000, seed=1)
    value = functional.create_stft_loss()(prediction, target).item()
    assert value == pytest.approx(expected(prediction, target).item(), rel=1e-5)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (0, 0), (1e-6, 1), (1, 1e-6), (1, 1)])
def test_the_stft_loss_of_silence_equals_auraloss(one, other):
    """With silence on either side, value and gradient are finite, and 0 where auraloss has a plateau."""
    config = StftConfig(fft_sizes=(64, 30), hop_sizes=(16, 7), win_lengths=(64, 20))
    sides = one * noise(2, 1, 300), other * noise(2, 1, 300, seed=1)
    gradient = assert_equal_to_auraloss(config, *sides)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum() > 0) == (one == 1)


@pytest.mark.parametrize(("one", "other"), [(0, 1e11), (1e11, 0), (1e-5, 1e11)])
def test_the_stft_loss_of_extremes_equals_auraloss(one, other):
    """Ratios of magnitudes as large as float32 has squares for are no infinity."""
    config = StftConfig(fft_sizes=(64, 30), hop_sizes=(16, 7), win_lengths=(64, 20))
    assert_equal_to_auraloss(config, one * noise(2, 1, 300), other * noise(2, 1, 300, seed=1))


def test_the_spectral_distance_of_extremes():
    """Neighbouring ratios of 1e30 cost a logarithm each."""
    tiny, one = torch.full((1, 2, 2), 1e-30), torch.ones(1, 2, 2)
    value = functional.spectral_distance(tiny, one).item()
    assert value == pytest.approx(1 + 30 * math.log(10), rel=1e-6)


def test_the_stft_loss_is_0_between_equals():
    """The loss and the gradient are 0 between equal sounds."""
    value, gradient = value_and_gradient(functional.create_stft_loss(), noise(1, 1, 3000), noise(1, 1, 3000))
    assert value == 0
    assert (gradient == 0).all()


def test_the_stft_loss_takes_any_length_and_precision():
    """A clip too short for auraloss is padded; half precision is computed in float32, double in double."""
    prediction, target = noise(1, 1, 5), noise(1, 1, 5, seed=1)
    loss = functional.create_stft_loss()
    assert 0 < loss(prediction, target) < 100
    half = loss(prediction.half(), target.half())
    assert half.dtype == torch.float32
    assert half == loss(prediction.half().float(), target.half().float())
    assert loss(prediction.double(), target.double()).dtype == torch.float64


def test_the_spectral_distance_by_hand():
    """The distance is as calculated by hand: errors of 1 and 0, norms of 1 and 10, one log ratio of 9/4."""
    target = torch.tensor([[[0.6, 0.8]], [[6.0, 8.0]]])
    prediction = torch.tensor([[[0.6, 1.8]], [[6.0, 8.0]]])
    over_batch = functional.spectral_distance(prediction, target)
    per_example = functional.spectral_distance(prediction, target, per_example=True)
    logarithm = math.log(1.8 / 0.8) / 4
    assert over_batch.item() == pytest.approx(1 / 101**0.5 + logarithm)
    assert per_example.item() == pytest.approx((1 / 1 + 0 / 10) / 2 + logarithm)


def spectral_distance_by_autograd(prediction, target, *, per_example):
    """Write the formula down as it is."""
    first = 1 if per_example else 0
    error, size = ((x).flatten(first).norm(dim=-1) for x in (target - prediction, target))
    return (error / size).mean() + (prediction.log() - target.log()).abs().mean()


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 300, 900), (1, 1, 1)])
def test_the_gradients_of_the_spectral_distance_are_autograds(per_example, shape):
    """The gradients of both sides are autograd's, whether the batch is taken whole or in parts."""
    sides = [noise(*shape, seed=seed).abs().double().add(1e-3).requires_grad_() for seed in (0, 1)]
    value = functional.spectral_distance(*sides, per_example=per_example)
    expected = spectral_distance_by_autograd(*sides, per_example=per_example)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    for actual, wanted in zip(*(torch.autograd.grad(3 * x, sides) for x in (value, expected)), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-12)


def test_the_per_example_stft_loss_is_the_mean_over_the_examples():
    """With the option, a batch costs what its clips cost on average, and one clip what it always does."""
    config = StftConfig(fft_sizes=(64,), hop_sizes=(16,), win_lengths=(64,))
    per_example = functional.create_stft_loss(attrs.evolve(config, per_example=True))
    loudness = torch.tensor([1.0, 0.01])[:, None, None]
    prediction, target = loudness * noise(2, 1, 300), loudness * noise(2, 1, 300, seed=1)
    each = [auraloss_of(config)(prediction[[i]], target[[i]]).item() for i in range(2)]
    assert per_example(prediction, target).item() == pytest.approx(sum(each) / 2, rel=1e-5)


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_the_stft_loss_is_made_of_a_whole_config(device):
    """The loss can be made of the config of a whole loss and a device, or of the term's alone."""
    config = StftConfig(fft_sizes=(64,), hop_sizes=(16,), win_lengths=(64,))
    wholes = functional.LossConfig(stft=config), configure(Registry().choose("stft"), {"stft": config})
    for each in (config, *wholes):
        assert functional.create_stft_loss(each, device).config == config
    assert functional.create_stft_loss(device=device).config == StftConfig()


def test_another_config_makes_no_stft_loss():
    """A config that makes no STFT loss is refused with the whole message."""
    with pytest.raises(ConfigError) as caught:
        functional.create_stft_loss(KlConfig())
    assert str(caught.value) == (
        f"expected a StftConfig or a loss config with one as 'stft', got {KlConfig()!r}"
    )
