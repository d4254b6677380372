"""Tests of distill.loss.composer: the weights of a loss with a balancer are shares."""

import pytest
import torch

from distill.errors import ConfigError, InputError, TermError
from distill.loss.composing import compose
from distill.plugin.registry import Registry


def test_a_balancer_makes_weights_shares(make_step, small_stft):
    """Two equal weights: the gradients at the prediction are as large as each other, and so is the log."""
    options = {"reconstruction.weight": 1.0, "stft.weight": 1.0, **small_stft}
    step, loss = make_step(), compose("stft,recon,kl", options, balancer="gradient")
    components = loss.differentiable(step.inputs)
    norms = [
        torch.autograd.grad(components[f"weighted/{name}"], step.prediction, retain_graph=True)[0]
        .flatten(1)
        .norm(dim=1)
        .mean()
        .item()
        for name in ("stft", "reconstruction")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert components["weighted/stft"].item() == pytest.approx(
        components["weight/stft"].item() * components["stft"].item()
    )
    assert components["weight/kl"].item() == pytest.approx(loss.config.kl.weight_at(0.5))


def test_a_balancer_stands_still_in_evaluation(make_step):
    """A balancer in evaluation remembers nothing and uses weights as factors, so that totals compare."""
    loss = compose("recon,kl", balancer="gradient").eval()
    fixed = compose("recon,kl").eval()
    assert loss(make_step().inputs)["total"].item() == fixed(make_step().inputs)["total"].item()
    loss.train()
    with torch.no_grad():
        assert loss(make_step().inputs)["total"].item() == fixed(make_step().inputs)["total"].item()
    loss(make_step().inputs.detached())
    assert loss.balancer.counts.tolist() == [0, 0]


def test_a_balancers_options_have_an_address():
    """They are checked as a term's are."""
    with pytest.raises(ConfigError) as caught:
        compose("recon", balancer="gradient", balancer_options={"decay": 1.5})
    assert str(caught.value) == "balancing.gradient.decay: must be < 1, got 1.5"


def test_an_unknown_balancer_is_named():
    """The message names the unknown balancer, the nearest one, and those that exist."""
    with pytest.raises(TermError) as caught:
        compose("recon", balancer="gradiant", registry=Registry(discover=False))
    assert str(caught.value) == "unknown balancer 'gradiant'; did you mean 'gradient'?\nChoose from: gradient"


def test_options_of_no_balancer():
    """The message says that no balancer is chosen, and how to choose one."""
    with pytest.raises(InputError) as caught:
        compose("recon", balancer_options={"decay": 0.5})
    assert str(caught.value) == ('balancer_options: no balancer is chosen\nChoose one: balancer="gradient".')
