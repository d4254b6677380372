"""Tests of distill.model.mixing: latents mixed of those of two recordings."""

import attrs
import pytest
import torch
from torch.nn.functional import interpolate

from distill.config.settings import ModelSettings
from distill.model.building import make_model
from distill.model.initialization import initialize_axes
from distill.model.mixing import lengthened, mix, statistics_of
from distill.spectral.representation import MagnitudeIF

REPRESENTATION = MagnitudeIF(8000, n_fft=256, hop=64)


@pytest.fixture(scope="module", params=[None, 250])
def vae(request):
    """Make a small model with a rich code, and one that keeps less."""
    sizes = attrs.evolve(
        ModelSettings(),
        width=16,
        fine_width=8,
        latents_per_second=request.param,
        joint_frames=2,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 1),
    )
    model = make_model(sizes, REPRESENTATION, seed=0)
    initialize_axes(model, REPRESENTATION(noise(1.0, 8000)))
    return model.eval()


def noise(gain, samples, seed=100):
    """Make noise of one channel, `[1, N]`."""
    return gain * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def code_of(vae, waveform):
    """Return the rich code of one channel, as it comes back of the model's own code."""
    spectrogram = REPRESENTATION(waveform)
    return vae.expand(vae.encode(spectrogram)[0])[..., : vae.code_frames(spectrogram.shape[-1])]


@torch.no_grad()
def mixed(vae, pair, *, bank=None, length=10, temperature=0.0, seed=0, **options):
    """Mix a pair, which is the bank unless another is given."""
    generator = torch.Generator().manual_seed(seed)
    bank = pair if bank is None else bank
    statistics = statistics_of(vae, bank, **options)
    return mix(vae, pair, statistics, length=length, temperature=temperature, generator=generator)


@torch.no_grad()
def decibels(vae, latents):
    """Return the level of a code, in dB, up to a constant."""
    total = vae.code.total(latents[:, 0])
    return 10 * vae.levels.amplitude(total).square().mean().log10()


@pytest.mark.parametrize("seed", range(8))
def test_bands_come_from_one_or_the_other(vae, seed):
    """The lowest bands come from one, the uppermost from the other, and shares rise or fall between."""
    pair = [code_of(vae, noise(0.1, 4000, seed)) for seed in (100, 101)]
    latents, share = mixed(vae, pair, seed=seed)
    assert latents.shape == (1, 1 + vae.code.size, 10)
    assert share.shape == (4, 10)
    steps = share.diff(dim=0)
    assert (steps >= 0).all() or (steps <= 0).all()
    assert (share[-1] - share[0]).abs().min() > 0.2


def test_a_recording_mixed_with_itself_is_that_recording(vae):
    """A recording mixed with itself at a temperature of 0 comes back, whatever the shares are."""
    one = code_of(vae, noise(0.1, 4000))
    # Levels that a small code decodes to below silence are cut off, and others make up for them.
    close = 2e-2 if vae.axes is None else 1e-1
    torch.testing.assert_close(mixed(vae, [one, one], length=one.shape[-1])[0], one, rtol=0, atol=close)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("gains", [(1.0, 0.1), (0.1, 0.001)])
def test_the_level_lies_between_those_of_the_two(vae, gains, temperature):
    """The level in dB lies between those of the two, within 0.5 dB, however far the sound wanders."""
    pair = [code_of(vae, noise(gain, 4000)) for gain in gains]
    latents, share = mixed(
        vae,
        pair,
        bank=[*pair * 3, code_of(vae, noise(3.0, 4000)), code_of(vae, noise(1e-4, 4000))],
        temperature=temperature,
    )
    ends = [decibels(vae, each) for each in pair]
    assert decibels(vae, latents) == pytest.approx(float(torch.lerp(*ends, share.mean())), abs=0.5)


def test_the_level_is_within_those_of_the_bank(vae):
    """A pair that is quieter than 95 % of the bank makes sounds that are not."""
    quiet = code_of(vae, noise(0.001, 4000))
    others = [code_of(vae, noise(0.1, 4000, seed)) for seed in range(100, 139)]
    latents, _ = mixed(vae, [quiet, quiet], bank=[quiet, *others])
    assert decibels(vae, latents) > min(decibels(vae, each) for each in others) - 0.1


def test_the_silence_after_a_short_recording_does_not_count(vae):
    """The lowest level is that of the recordings, not of the latent frames that they only begin to fill."""
    full, short = noise(0.1, 4000), torch.cat([noise(0.1, 400), torch.zeros(1, 3600)], dim=1)
    quiet, *bank = (code_of(vae, each) for each in (noise(0.001, 4000), full, short))
    made = [
        decibels(vae, mixed(vae, [quiet, quiet], bank=bank, filled=filled)[0])
        for filled in ([1.0, 1.0], [1.0, 0.1])
    ]
    assert made[0] == pytest.approx(
        float(decibels(vae, bank[0])) - 9.4, abs=1
    )  # the 5th percentile of 0 and -10
    assert made[1] == pytest.approx(float(decibels(vae, bank[0])), abs=1)


def test_what_is_silent_does_not_silence_the_other(vae):
    """Bands of noise mixed with the silence after a click keep their power, less their share, within 3 dB."""
    if vae.axes is not None:
        pytest.skip("levels of bands are but close in a small code")
    click = torch.cat([noise(0.1, 100), torch.zeros(1, 3900)], dim=1)
    pair = [code_of(vae, noise(0.1, 4000)), code_of(vae, click)]
    latents, share = mixed(vae, pair)
    powers = [vae.levels.amplitude(vae.bands_of(each)[0].detach())[0].square() for each in (latents, pair[0])]
    kept = (powers[0][:, 5:7] / (1 - share[:, 5:7])).log10() * 10
    assert (kept - kept.mean()).abs().max() < 3


def steps(*levels):
    """Make a code `[1, 2, S]` with these levels, whose second number counts the frames."""
    return torch.tensor([levels, range(len(levels))], dtype=torch.float32)[None]


def test_an_attack_is_not_repeated():
    """By hand: 3 frames, without the last, become 6. The step from the attack stays, others grow by 3 / 2.

    So the frames are at 0, 1 and 3.5, and the third one is held from there on.
    """
    made = lengthened(steps(1.0, 0.9, 0.8, 0.1), 6)[0]
    torch.testing.assert_close(made[1], torch.tensor([0, 1, 1.4, 1.8, 2, 2]), rtol=0, atol=1e-6)
    torch.testing.assert_close(made[0], torch.tensor([1, 0.9, 0.86, 0.82, 0.8, 0.8]), rtol=0, atol=1e-6)


def test_a_later_attack_is_not_repeated_either():
    """A rise by 6 dB (0.23) is an attack: the steps to it and from it are as long as they were."""
    made = lengthened(steps(0.5, 0.4, 0.3, 0.6, 0.5, 0.5), 8)[0, 1]
    # Steps 1 and 4 take 1 + 3 / 2 frames: the frames are at 0, 1, 3.5, 4.5, 5.5 and 8.
    torch.testing.assert_close(made[:6], torch.tensor([0, 1, 1.4, 1.8, 2.5, 3.5]), rtol=0, atol=1e-6)


def test_short_recordings_can_be_lengthened():
    """A frame after the attack is held, and so is a single frame; nothing changes without a new length."""
    assert lengthened(steps(1.0, 0.9), 4)[0, 1].tolist() == [0, 1, 1, 1]
    assert lengthened(steps(1.0), 3)[0, 1].tolist() == [0, 0, 0]
    one = steps(1.0, 0.2, 0.4)
    assert torch.equal(lengthened(one, 3), one)


def test_levels_of_a_shorter_recording_are_stretched(vae):
    """A quieter second half is the second half, and the level does not depend on where attacks are."""
    if vae.axes is not None:
        pytest.skip("levels of bands are but close in a small code")
    one = code_of(vae, noise(0.1, 4000))[..., :6]
    one[:, 0, 3:] -= 0.5
    level = vae.levels.total(vae.bands_of(mixed(vae, [one, one], length=11)[0])[0])
    expected = vae.levels.total(vae.bands_of(interpolate(one, size=11, mode="linear", align_corners=True))[0])
    torch.testing.assert_close(level - level.mean(), expected - expected.mean(), rtol=0, atol=1e-3)


def test_temperature_scales_the_wander(vae):
    """Shapes leave the mixture of temperature 0 by as much more as the temperature is higher."""
    pair = [code_of(vae, noise(0.1, 4000, seed)) for seed in (100, 101)]
    straight, near, far = (
        vae.bands_of(mixed(vae, pair, temperature=temperature)[0])[1] for temperature in (0.0, 1.0, 2.0)
    )
    assert not torch.equal(near, straight)
    if vae.axes is None:
        torch.testing.assert_close(far - straight, 2 * (near - straight), rtol=1e-3, atol=1e-4)
    else:  # which has no room for all of it
        assert (far - straight).norm() > (near - straight).norm()
