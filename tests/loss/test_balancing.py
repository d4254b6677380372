"""Tests of distill.loss.balancing, against EnCodec's balancer written out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distill.loss.balancing import GradientBalancer
from distill.plugin.builtin_balancers import GradientBalancerConfig


def encodec(losses, output, weights, history, decay=0.999, total_norm=1.0):
    """Return the gradient at the output as `encodec.balancer.Balancer` does, `per_batch_item` as by default.

    From facebookresearch/encodec, `balancer.py` and `utils.averager`; `history` holds its averages.
    """
    gradients = {
        name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()
    }
    averages = {}
    for name, gradient in gradients.items():
        norm = gradient.norm(dim=tuple(range(1, gradient.dim()))).mean()
        total, fix = history.get(name, (0.0, 0.0))
        history[name] = total, fix = total * decay + norm, fix * decay + 1
        averages[name] = total / fix
    whole = sum(weights[name] for name in averages)
    return sum(
        weights[name] / whole * total_norm / (1e-12 + averages[name]) * gradient
        for name, gradient in gradients.items()
    )


def balancer(*terms, **options):
    """Make a balancer of these terms."""
    return GradientBalancer(GradientBalancerConfig(**options), terms)


def step(output):
    """Return two losses of an output, of very different size."""
    return {"loud": 1000 * output.square().mean(), "quiet": output.abs().mean()}


def noise(seed, *shape):
    """Make an output that a decoder might have given."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@settings(deadline=None)  # its first example loads what the others have at hand
@given(
    weights=st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    decay=st.floats(0, 0.999),
    total=st.floats(0.1, 10),
    batch=st.integers(1, 4),
)
def test_the_gradient_is_that_of_encodec(weights, decay, total, batch):
    """The gradient at the output equals EnCodec's over several steps, whatever the weights."""
    ours, history = balancer("loud", "quiet", decay=decay, total_norm=total), {}
    weights = dict(zip(("loud", "quiet"), weights, strict=True))
    for seed in range(3):
        output = noise(seed, batch, 2, 5)
        losses = step(output)
        expected = encodec(losses, output, weights, history, decay, total)
        factors = ours(losses, weights, (output,))
        sum(factors[name] * loss for name, loss in losses.items()).backward()
        torch.testing.assert_close(output.grad, expected, rtol=1e-4, atol=1e-7)


def test_weights_are_shares_whatever_the_losses_scale():
    """A loss a thousand times as large has the same gradient in the end."""
    output = noise(0, 2, 3)
    shares = []
    for scale in (1.0, 1000.0):
        losses = {"loud": scale * output.square().mean(), "quiet": output.abs().mean()}
        factors = balancer("loud", "quiet", total_norm=1.0)(losses, {"loud": 3.0, "quiet": 1.0}, (output,))
        gradient = torch.autograd.grad(factors["loud"] * losses["loud"], output)[0]
        shares.append(gradient.norm(dim=1).mean().item())
    assert shares == pytest.approx([0.75, 0.75], rel=1e-5)


def test_together_the_terms_are_as_large_as_with_fixed_weights():
    """By default balancing keeps the total size, so that weights of terms outside it keep their meaning."""
    output = noise(0, 2, 3)
    losses, weights = step(output), {"loud": 2.0, "quiet": 1.0}
    factors = balancer("loud", "quiet")(losses, weights, (output,))
    norms = {
        name: torch.autograd.grad(loss, output, retain_graph=True)[0].norm(dim=1).mean().item()
        for name, loss in losses.items()
    }
    fixed = sum(weights[name] * norms[name] for name in norms)
    assert sum(factors[name].item() * norms[name] for name in norms) == pytest.approx(fixed, rel=1e-5)
    assert factors["loud"].item() * norms["loud"] == pytest.approx(2 / 3 * fixed, rel=1e-5)


def test_one_term_keeps_its_weight():
    """Where there is nothing to balance, nothing changes."""
    output = noise(0, 2, 3)
    factors = balancer("quiet")({"quiet": output.abs().mean()}, {"quiet": 0.3}, (output,))
    assert factors["quiet"].item() == pytest.approx(0.3)


def test_what_does_not_reach_the_output_keeps_its_weight():
    """A term without a gradient at the output, such as a divergence, keeps its weight."""
    output, mu = noise(0, 2, 3), noise(1, 2, 4)
    losses = {"quiet": output.abs().mean(), "kl": mu.square().mean(), "none": torch.zeros(())}
    factors = balancer("quiet", "kl", "none")(losses, dict.fromkeys(losses, 1.0), (output,))
    assert list(factors) == ["quiet"]
    assert balancer("kl")({"kl": losses["kl"]}, {"kl": 1.0}, (output,)) == {}


def test_norms_are_taken_over_all_outputs():
    """A decoder that gives two tensors has one gradient."""
    one, two = noise(0, 2, 3), noise(1, 2, 4)
    losses = {"a": 3 * one.sum() + 4 * two.sum(), "b": one.sum()}
    factors = balancer("a", "b", total_norm=1.0)(losses, {"a": 1.0, "b": 1.0}, (one, two))
    assert factors["a"].item() == pytest.approx(0.5 / (3 * 9 + 4 * 16) ** 0.5)
    assert factors["b"].item() == pytest.approx(0.5 / 3**0.5)


def test_the_averages_are_its_state():
    """A balancer that is saved and loaded continues as if never stopped; a fresh one differs."""
    weights = {"loud": 1.0, "quiet": 1.0}
    straight, restored, fresh = (balancer("loud", "quiet", total_norm=1.0) for _ in range(3))
    output = noise(0, 2, 3)
    straight(step(output), weights, (output,))
    assert set(straight.state_dict()) == {"sums", "counts"}
    restored.load_state_dict(straight.state_dict())
    output = (100 * noise(1, 2, 3)).detach().requires_grad_()
    one, same, other = (
        each(step(output), weights, (output,))["loud"].item() for each in (straight, restored, fresh)
    )
    assert one == same
    assert one != pytest.approx(other, rel=0.1)


def test_a_term_that_begins_late_begins_its_own_average():
    """Steps that a term did not see do not count as steps without a gradient."""
    ours = balancer("loud", "quiet", total_norm=1.0)
    output = noise(0, 2, 3)
    losses = step(output)
    for _ in range(5):
        ours({"quiet": losses["quiet"]}, {"quiet": 1.0}, (output,))
    factors = ours(losses, {"loud": 1.0, "quiet": 1.0}, (output,))
    fresh = balancer("loud", "quiet", total_norm=1.0)(losses, {"loud": 1.0, "quiet": 1.0}, (output,))
    assert factors["loud"].item() == pytest.approx(fresh["loud"].item(), rel=1e-5)


def test_factors_have_no_gradient():
    """They weigh the losses, and are nothing to be lowered themselves."""
    model = nn.Linear(3, 3)
    output = model(noise(0, 2, 3))
    factors = balancer("loud", "quiet")(step(output), {"loud": 1.0, "quiet": 1.0}, (output,))
    assert not any(factor.requires_grad for factor in factors.values())
    assert model.weight.grad is None
