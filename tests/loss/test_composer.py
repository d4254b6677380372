"""Tests of distill.loss.composer: terms in, one dict of components out."""

import json

import pytest
import torch
from torch import nn

from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.views import LogMagnitude


def constant(value):
    """Make what a term may return: a scalar that a gradient could flow through."""
    return torch.tensor(float(value), requires_grad=True)


class Learned(nn.Module):
    """A term with a parameter."""

    def __init__(self, _):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        """Scale the mean log-magnitude."""
        return self.factor * inputs.view(LogMagnitude())[0].mean()


def test_the_components_and_their_names(make_step, numbers, small_stft, small_waveform):
    """The total comes first, then terms and parts unweighted, then what is weighted, then the weights."""
    components = compose("stft,recon,kl,waveform", small_stft | small_waveform)(make_step().inputs)
    assert list(components) == [
        "total",
        "stft",
        "reconstruction",
        "reconstruction/magnitude",
        "reconstruction/instantaneous_frequency",
        "kl",
        "waveform",
        "weighted/stft",
        "weighted/reconstruction",
        "weighted/kl",
        "weighted/waveform",
        "weight/stft",
        "weight/reconstruction",
        "weight/kl",
        "weight/waveform",
    ]
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in components.values())
    json.dumps(numbers(components), allow_nan=False)


@pytest.mark.parametrize("name", ["keys", "forward", "training", "terms", "config", "requires_grad"])
def test_a_term_may_be_named_as_a_method_of_a_module(name, make_step, composed):
    """A term's component and state have its name, even where torch uses it for something of its own."""
    loss = composed(Learned, names=(name,), options={f"{name}.weight": 0.5})
    components = loss(make_step().inputs)
    assert list(components) == ["total", name, f"weighted/{name}", f"weight/{name}"]
    assert list(loss.state_dict()) == [f"terms.{name}.factor"]


def test_weights_apply_once(make_step, composed, numbers):
    """Terms of 3 and 5 with weights 2 and 0.5 total 8.5."""
    loss = composed(
        lambda _: constant(3.0), lambda _: constant(5.0), options={"a.weight": 2.0, "b.weight": 0.5}
    )
    assert numbers(loss(make_step().inputs)) == {
        "total": 8.5,
        "a": 3.0,
        "b": 5.0,
        "weighted/a": 6.0,
        "weighted/b": 2.5,
        "weight/a": 2.0,
        "weight/b": 0.5,
    }


def test_schedules_apply_once(make_step, composed):
    """Halfway up its ramp a term of 3 with weight 2 counts 3 * 2 * 0.5; after it 3 * 2."""
    loss = composed(
        lambda _: constant(3.0), options={"a.weight": 2.0, "a.schedule": [[0.0, 0.0], [0.4, 1.0]]}
    )
    totals = [loss(make_step(progress=p).inputs)["total"].item() for p in (0.0, 0.2, 0.4, 1.0)]
    assert totals == pytest.approx([0.0, 3.0, 6.0, 6.0])
    assert loss.weights_at(0.2) == pytest.approx({"a": 1.0})


def test_the_kl_warms_up(make_step):
    """By default the KL term has half of its weight of 0.01 at half of its warm-up."""
    assert compose("kl")(make_step(progress=0.15).inputs)["weight/kl"].item() == pytest.approx(0.005)


def test_the_parts_of_a_term_add_up_to_it(make_step, composed, numbers):
    """A dict of named parts is their sum, and each is logged."""
    loss = composed(lambda _: {"x": constant(1.0), "y": constant(2.5)}, options={"a.weight": 2.0})
    components = numbers(loss(make_step().inputs))
    assert components["a"] == 3.5
    assert (components["a/x"], components["a/y"]) == (1.0, 2.5)
    assert components["total"] == 7.0


def test_the_gradient_of_the_total_is_the_weighted_sum(make_step, composed):
    """Each term pulls with its weight, and nothing else has a gradient to go back on by mistake."""
    step = make_step()
    loss = composed(
        lambda i: i.view(LogMagnitude())[0].mean(),
        lambda i: i.view(LogMagnitude())[0].square().mean(),
        options={"a.weight": 3.0, "b.weight": 0.5},
    )
    components = loss(step.inputs)
    components["total"].backward()
    magnitude = step.prediction.detach()[:, 0]
    torch.testing.assert_close(step.prediction.grad[:, 0], (3 + magnitude) / magnitude.numel())
    assert not components["weight/a"].requires_grad


def test_the_order_of_the_terms(make_step, composed):
    """Terms that plugins declare last run after the others, monitored ones after all; one is the last."""
    order = []

    def noting(name):
        def term(inputs):
            order.append((name, inputs.last))
            return constant(0)

        return term

    names = ["a", "b", "c", "d"]
    options = {"b.weight": 0.0, "d.weight": 0.0}
    with pytest.warns(DeprecationWarning, match="last=True"):
        loss = composed(*map(noting, names), names=names, last=["a", "b"], options=options)
    assert list(loss(make_step().inputs))[1:5] == names
    assert order == [("c", False), ("a", False), ("d", False), ("b", True)]


def test_no_spec_says_when_its_term_is_called():
    """That `waveform` is called last is not in its spec, and its plugin contract is that of others."""
    terms = Registry(discover=False).terms()
    assert [term.name for term in terms if term.spec.last] == []


def test_a_term_of_weight_0_is_monitored(make_step, composed):
    """It is computed and logged, and neither the prediction nor its own parameters get a gradient."""
    step = make_step()
    loss = composed(Learned, lambda i: i.posterior.mu.square().mean(), options={"a.weight": 0.0})
    components = loss(step.inputs)
    components["total"].backward()
    expected = 2 * step.prediction[:, 0].mean().item()
    assert components["a"].item() == pytest.approx(expected)
    assert list(components)[:3] == ["total", "a", "b"]
    assert components["weighted/a"] == components["weight/a"] == 0
    assert components["total"] == components["b"]
    assert not components["a"].requires_grad
    assert loss.terms["a"].factor.grad is None
    assert step.prediction.grad is None
    assert step.mu.grad.abs().sum() > 0


def test_a_monitored_term_does_not_cut_the_gradient_of_what_it_shares(make_step, small_stft):
    """A view that it looks at first still has a gradient for the next term."""
    step, alone = make_step(), make_step()
    compose("stft,recon", small_stft | {"stft.weight": 0.0})(step.inputs)["total"].backward()
    compose("recon")(alone.inputs)["total"].backward()
    assert torch.equal(step.prediction.grad, alone.prediction.grad)


def test_a_monitored_term_that_overflows_leaves_the_total_alone(make_step, composed):
    """An infinite term of weight 0 is not in the sum, which stays finite."""
    loss = composed(lambda _: constant(torch.inf), lambda _: constant(1.0), options={"a.weight": 0})
    components = loss(make_step().inputs)
    assert components["a"] == torch.inf
    assert components["total"] == 1


def test_a_call_gives_the_total_of_all_components_with_gradients(
    make_step, numbers, small_stft, small_waveform
):
    """A call gives the same bits and the same gradient of the total, which the weighted terms add up to."""
    steps, loss = (
        [make_step() for _ in range(3)],
        compose("stft,recon,kl,waveform", small_stft | small_waveform),
    )
    called, whole, parts = loss(steps[0].inputs), *(loss.differentiable(step.inputs) for step in steps[1:])
    assert numbers(called) == numbers(whole) == numbers(parts)
    called["total"].backward()
    whole["total"].backward()
    for name in ("prediction", "mu", "logvar"):
        one, other = (getattr(step, name).grad for step in steps[:2])
        assert torch.equal(one, other)
    sum(value for name, value in parts.items() if name.startswith("weighted/")).backward()
    torch.testing.assert_close(steps[2].prediction.grad, steps[0].prediction.grad)


def test_nothing_has_a_gradient_without_grad(make_step, small_stft):
    """No component has a gradient when the loss is called without gradients."""
    with torch.no_grad():
        components = compose("stft,recon,kl", small_stft)(make_step().inputs)
    assert not any(value.requires_grad for value in components.values())


def test_the_state_of_a_term_is_the_losss(make_step, composed, numbers):
    """A term's parameters are trained, saved and loaded with the loss."""
    step, loss, restored = make_step(), composed(Learned), composed(Learned)
    loss(step.inputs)["total"].backward()
    torch.optim.SGD(loss.parameters(), lr=0.1).step()
    assert list(loss.state_dict()) == ["terms.a.factor"]
    restored.load_state_dict(loss.state_dict())
    assert restored.terms["a"].factor.item() != 2
    assert numbers(restored(step.inputs)) == numbers(loss(step.inputs))


def test_one_term_by_itself_has_a_gradient_whatever_its_weight(make_step, composed):
    """A single term is unweighted, in float32 under autocast, and the last to look at its inputs."""
    step, seen = make_step(), []

    def watching(inputs):
        seen.append((inputs.last, torch.is_autocast_enabled("cpu")))
        return {"half": inputs.view(LogMagnitude())[0].mean(), "other": constant(1.0)}

    loss = composed(watching, lambda _: constant(5.0), options={"a.weight": 0.0})
    with torch.autocast("cpu"):
        value = loss.unweighted("a", step.inputs)
    (gradient,) = torch.autograd.grad(value, step.prediction)
    assert value.item() == pytest.approx(1 + step.prediction[:, 0].mean().item())
    assert gradient[:, 0].sum().item() == pytest.approx(1)
    assert seen == [(True, False)]
