"""Tests of the discriminators and of the term, through Distill's public names and its kit."""

import pytest
import torch
from torch import nn

import distill_adversarial
from distill import DistillError, Registry, compose
from distill.testing import check_term, loss_inputs
from distill_adversarial.discriminator import StftDiscriminator

(SPEC,) = distill_adversarial.distill_loss_terms()
SMALL = {"fft_sizes": (512, 128), "channels": 4, "share": 1.0}


def composed(**options):
    """Compose the term alone, small and begun; return the loss and its module."""
    torch.manual_seed(0)
    loss = compose(
        "adversarial", {f"adversarial.{k}": v for k, v in ({"start": 0.0} | SMALL | options).items()}
    )
    return loss, loss.trained_terms()["adversarial"]


class Fixed(nn.Module):
    """A discriminator that gives every frame its mean amplitude as verdict, and as its only feature."""

    def forward(self, spectrum):
        """Return the amplitude, averaged over bins."""
        amplitude = spectrum.abs().mean(1, keepdim=True)[:, None]
        return amplitude, [amplitude]


def test_the_entry_point_registers_the_term():
    """The term is found by name, with the distribution it came from, and is trained."""
    (term,) = Registry().choose("adversarial")
    assert str(term) == "adversarial (distill-adversarial 0.1.0)"
    assert term.spec.trained


def test_it_keeps_the_contract():
    """The term passes every check of the kit with small discriminators and its other defaults."""
    small = {name: value for name, value in SMALL.items() if name != "share"}
    assert {outcome.status for outcome in check_term(SPEC, **small)} == {"passed", "not applicable"}


def test_of_all_clips_it_is_a_mean_over_examples():
    """The term with `share` 1 gives the same value in several processes as in one."""
    loss, _ = composed()
    whole = loss(loss_inputs(batch=2))["adversarial"].item()
    inputs = loss_inputs(batch=2)
    first = loss(inputs.first(1))["adversarial"].item()
    assert first != pytest.approx(whole, rel=1e-3)
    halves = [loss(inputs.first(1))["adversarial"].item()]
    swapped = loss_inputs(batch=2)
    sources = (swapped.prediction.spectrogram, swapped.target.waveform)
    for source in sources:
        source.data = source.data.flip(0)
    halves.append(loss(swapped.first(1))["adversarial"].item())
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-4)


def test_the_value_is_hinge_and_relative_feature_distance():
    """The value is as calculated by hand for a discriminator whose verdict is the mean amplitude."""
    loss, module = composed(fft_sizes=(128,), hinge_weight=3.0, feature_weight=5.0)
    module.discriminators[0] = Fixed()
    inputs = loss_inputs()
    components = loss(inputs)
    prediction, target = (side.abs().mean(1) for side in inputs.renewed().view(module.views[0]))
    hinge = (1 - prediction).clamp(min=0).mean()
    features = ((prediction - target).abs().mean(1) / target.mean(1)).mean()
    assert components["adversarial/hinge"].item() == pytest.approx(3 * hinge.item(), rel=1e-5)
    assert components["adversarial/features"].item() == pytest.approx(5 * features.item(), rel=1e-5)
    assert components["objective/adversarial/target"].item() == pytest.approx(
        (1 - target).clamp(min=0).mean().item(), rel=1e-5
    )
    assert components["objective/adversarial/prediction"].item() == pytest.approx(
        (1 + prediction).clamp(min=0).mean().item(), rel=1e-5
    )


@pytest.fixture(scope="module")
def learnt():
    """Return a loss whose discriminators have learnt two sides that stay as they are, and its objectives.

    It is not to be changed.
    """
    (loss, _), inputs, objectives = composed(), loss_inputs(samples=2000), []
    optimizer = torch.optim.AdamW(loss.parameters(), 1e-2)
    for _ in range(30):
        objective = loss(inputs)["objective"]
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        objectives.append(objective.item())
    return loss, objectives


def test_discriminators_learn_to_tell_the_sides_apart(learnt):
    """At first the objective is that of verdicts near 0, twice 1, and soon far lower."""
    _, objectives = learnt
    assert objectives[0] == pytest.approx(2, abs=0.3)
    assert objectives[-1] < 0.5


def test_what_is_told_apart_is_pulled_to_the_target(learnt):
    """To discriminators that have learnt, a target costs less than a prediction that is far from it."""
    loss, _ = learnt
    far, near = (loss(loss_inputs(samples=2000, equal=equal)) for equal in (False, True))
    assert near["adversarial/hinge"] < far["adversarial/hinge"] - 0.3
    assert near["adversarial/features"] < 0.1 * far["adversarial/features"]


@pytest.mark.parametrize("level", [1e-4, 1.0])
def test_a_quiet_sound_is_heard(level):
    """Features depend on a sound that is 80 dB down, as amplitudes are compressed."""
    torch.manual_seed(0)
    discriminator = StftDiscriminator(4)
    spectra = level * torch.randn(2, 65, 20, dtype=torch.complex64)
    verdict, features = discriminator(spectra)
    assert verdict.shape == (2, 1, 3, 20)
    assert [feature.shape[1] for feature in features] == [4, 8, 16, 16]
    assert (features[0][0] - features[0][1]).abs().mean() > 0.1 * features[0].abs().mean()


def test_no_resolutions_are_refused():
    """The options are validated under the term's address."""
    with pytest.raises(DistillError) as caught:
        compose("adversarial", {"adversarial.fft_sizes": []})
    assert str(caught.value) == "loss.adversarial.fft_sizes: must be of length >= 1, got []"
