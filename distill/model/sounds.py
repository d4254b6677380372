"""Reconstruction of recordings and generation of new sounds with a trained model.

Shapes: `C` channels, `N` samples, `F` bins, `D` numbers per latent frame, `T'` latent frames.

Each channel is encoded and decoded independently. The relation between channels is kept as their coherence
at each frequency: decoding starts from noise with this coherence, and the channels are mixed to their
correlation. For a new sound, the correlation follows from its coherence and its magnitudes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from distill.config.settings import STRIDE
from distill.model.channels import (
    coherence_of,
    coherent,
    covariance_from,
    mono_coherence,
    with_correlation,
)
from distill.model.code import BAND
from distill.model.mixing import Statistics, mix, statistics_of
from distill.model.phases import draw_noise, with_phases, with_phases_of
from distill.model.refinement import refine
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

_PIECE_SECONDS = 20.0
_OVERLAP_SECONDS = 0.1
_LEAST_SHARE = 1 / 30
"""A long recording is reconstructed in pieces. Pieces of more than two channels are shorter, at least 1 s."""

_FRAMES_AT_A_TIME = 2048
"""As many frames of short recordings are encoded at a time."""

_CONTRAST, _CONTRAST_OF_SMALL = 1.25, 1.5
"""What makes up for the tonal peaks that decoded magnitudes lack, those of a smaller code than the rich one
more; `docs/sound.md` has the measurements.

A reconstruction does without: its peaks would be as many, but fewer of them at the right place.
"""

_ROUNDS = 4
"""How often channels are mixed during phase reconstruction; `docs/sound.md` has the measurements."""


@frozen(eq=False)
class Encoded:
    """An encoded recording: latents `[C, D, T']` and the complex coherence `[C, C, F]` of its channels.

    `samples` is N of the recording, if it is known. The last latent frame may reach beyond it. `contrast` is
    that with which the latents are decoded. It is above 1 for those that `draw` returns.
    """

    latents: Tensor
    coherence: Tensor
    samples: int | None = None
    contrast: float = 1.0

    @classmethod
    def mono(cls, latents: Tensor, bins: int, samples: int | None = None, contrast: float = 1.0) -> "Encoded":
        """Return an encoded recording of one channel from latents `[D, T']` and the number of bins."""
        return cls(latents[None], mono_coherence(bins), samples, contrast)


@torch.no_grad()
def reconstruct(vae: VAE, representation: MagnitudeIF, waveform: Tensor, *, refinements: int = 0) -> Tensor:
    """Encode and decode a waveform `[C, N]` of any length.

    Each channel is encoded independently, and the coherence of the channels is measured on `waveform`. The
    latents are refined in `refinements` steps. A long waveform is processed in pieces of 20 seconds with
    cross-fades, so that memory use does not grow with its length.
    """
    result, start = torch.zeros(waveform.shape), 0
    for made in reconstruct_blocks(vae, representation, [waveform], refinements=refinements):
        result[:, start : start + made.shape[-1]] = made
        start += made.shape[-1]
    return result


def reconstruct_blocks(
    vae: VAE, representation: MagnitudeIF, blocks: Iterable[Tensor], *, refinements: int = 0
) -> Iterator[Tensor]:
    """Yield the reconstruction of a waveform `[C, N]` that is given in blocks `[C, n]` of any lengths.

    The blocks that are yielded are together what `reconstruct` returns for the whole waveform. Only a piece
    of 20 seconds is held in memory, or less if it has more than two channels.
    """
    vae.eval()
    overlap = int(_OVERLAP_SECONDS * representation.sample_rate)
    fade = torch.linspace(0, 1, overlap)
    tail: Tensor | None = None
    for piece in _pieces(blocks, representation.sample_rate, overlap):
        made = _reconstruct_piece(vae, representation, piece, refinements)
        if tail is not None:
            made[:, :overlap] = tail * (1 - fade) + made[:, :overlap] * fade
        yield made[:, :-overlap]
        tail = made[:, -overlap:]
    if tail is not None:
        yield tail


def _pieces(blocks: Iterable[Tensor], sample_rate: int, overlap: int) -> Iterator[Tensor]:
    """Yield a waveform that is given in blocks as overlapping pieces `[C, n]`. The last one is shorter."""
    held: Tensor | None = None
    pieces = 0
    for block in blocks:
        held = block if held is None else torch.cat([held, block], dim=1)
        share = min(1, max(_LEAST_SHARE, 2 / len(held)))
        length = int(share * _PIECE_SECONDS * sample_rate)
        while held.shape[-1] >= length:
            yield held[:, :length]
            held, pieces = held[:, length - overlap :], pieces + 1
    if held is not None and (not pieces or held.shape[-1] > overlap):
        yield held


@torch.no_grad()
def _reconstruct_piece(vae: VAE, representation: MagnitudeIF, waveform: Tensor, refinements: int) -> Tensor:
    """Return the reconstruction `[C, N]` of a waveform `[C, N]` that fits in memory."""
    coherence = coherence_of(waveform, representation.n_fft)
    original, samples = waveform.to(vae.device), waveform.shape[-1]
    noise = _noise(representation, coherence, samples, vae.device)
    latents = _by_rows(lambda row: vae.encode(representation(row))[0], original)
    if refinements:
        latents = refine(vae, representation, original, latents, refinements, noise)
    if len(latents) == 1:
        return vae.sound(latents, representation, samples, noise=noise).cpu()
    wide = waveform.double()
    decoded = log_magnitude(vae, latents, noise)
    return _sound(vae, representation, decoded, noise, samples, lambda _: wide @ wide.T)


def _noise(
    representation: MagnitudeIF, coherence: Tensor, samples: int, device: torch.device, seed: int = 0
) -> Tensor:
    """Return the spectrogram `[C, 2, F, T]` of white noise with the coherence `[C, C, F]`."""
    drawn = draw_noise(representation, len(coherence), samples, seed)
    return representation(coherent(drawn, coherence, representation.n_fft).to(device))


def _sound(
    vae: VAE,
    representation: MagnitudeIF,
    decoded: Tensor,
    noise: Tensor,
    samples: int,
    covariance_of: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return a waveform `[C, N]` of log-magnitudes `[C, F, T]`, with a given correlation of channels.

    Phases reconstructed for each channel independently lose the correlation, and mixing the channels to
    their correlation changes their magnitudes. So both steps alternate, and phase reconstruction continues
    from the phases of the mixed channels. The total number of Griffin-Lim iterations is that of one channel.

    Args:
        vae: the model.
        representation: the representation of the model.
        decoded: the log-magnitudes of the channels.
        noise: the spectrogram `[C, 2, F, T]` that provides the initial phases.
        samples: N.
        covariance_of: maps the power of the channels `[C, F]` to the covariance `[C, C]` they shall have.
    """
    if len(decoded) == 1:
        return with_phases(decoded, noise, representation, samples, vae.iterations).cpu()
    amplitude = representation.amplitude(decoded)
    covariance = covariance_of(amplitude.square().sum(dim=-1).cpu())
    begin: Callable[..., Tensor] = with_phases
    made, magnitudes = noise, decoded
    for turn in range(_ROUNDS):
        iterations = vae.iterations * (turn + 1) // _ROUNDS - vae.iterations * turn // _ROUNDS
        again = partial(begin, representation=representation, samples=samples, iterations=iterations)
        made = with_correlation(_by_rows(again, magnitudes, made.to(vae.device)).cpu(), covariance)
        begin, magnitudes = with_phases_of, amplitude
    return made


def _by_rows(function: Callable[..., Tensor], *batches: Tensor, at_a_time: int = 1) -> Tensor:
    """Apply a function of batches with independent rows; on a CPU to a few rows at a time, to save memory."""
    if batches[0].device.type != "cpu":
        return function(*batches)
    parts = zip(*(each.split(at_a_time) for each in batches), strict=True)
    return torch.cat([function(*part) for part in parts])


def encode(vae: VAE, representation: MagnitudeIF, waveform: Tensor) -> Encoded:
    """Encode a waveform `[C, N]`. More than two channels are reduced to one: the mean of their latents."""
    return encode_all(vae, representation, [waveform])[0]


@torch.no_grad()
def encode_all(vae: VAE, representation: MagnitudeIF, waveforms: Sequence[Tensor]) -> list[Encoded]:
    """Encode waveforms `[C, N]` that have the same number of frames, several at a time if they are short."""
    vae.eval()
    samples = representation.samples(representation.frames(waveforms[0].shape[-1]))
    # The transform pads a waveform to whole frames by itself.
    rows = torch.cat([F.pad(each, (0, samples - each.shape[-1])) for each in waveforms]).to(vae.device)
    latents = _by_rows(
        lambda row: vae.encode(representation(row))[0],
        rows,
        at_a_time=max(1, _FRAMES_AT_A_TIME // representation.frames(samples)),
    ).cpu()
    encoded = latents.split([len(each) for each in waveforms])
    return [
        Encoded.mono(own.mean(dim=0), representation.bins, waveform.shape[-1])
        if len(waveform) > 2
        else Encoded(own, coherence_of(waveform, representation.n_fft), waveform.shape[-1])
        for own, waveform in zip(encoded, waveforms, strict=True)
    ]


@torch.no_grad()
def decode(
    vae: VAE,
    representation: MagnitudeIF,
    latents: Tensor,
    samples: int,
    coherence: Tensor | None = None,
    *,
    seed: int = 0,
    contrast: float = 1.0,
) -> Tensor:
    """Decode latents `[C, D, T']` into a waveform `[C, N]` with N = `samples`.

    Without `coherence`, each channel is decoded independently. With `coherence` `[C, C, F]`, the channels are
    mixed to the correlation that follows from it and from their magnitudes, which have `contrast`. Noise is
    drawn with `seed`.
    """
    latents = latents.to(vae.device)
    if coherence is None:
        made = _whole_samples(vae, representation, latents, samples)
        return vae.sound(latents, representation, made).cpu()[..., :samples]
    noise = noise_for(vae, representation, latents, samples, coherence, seed)
    decoded = log_magnitude(vae, latents, noise, contrast)
    return synthesize(vae, representation, decoded, noise, samples, coherence)


@torch.no_grad()
def noise_for(
    vae: VAE, representation: MagnitudeIF, latents: Tensor, samples: int, coherence: Tensor, seed: int = 0
) -> Tensor:
    """Return the spectrogram `[C, 2, F, T]` of the noise with which `decode` begins.

    It depends on the length of the latents `[C, D, T']` only, and has the coherence `[C, C, F]`.
    """
    made = _whole_samples(vae, representation, latents, samples)
    return _noise(representation, coherence, made, vae.device, seed)


@torch.no_grad()
def log_magnitude(vae: VAE, latents: Tensor, noise: Tensor, contrast: float = 1.0) -> Tensor:
    """Return the log-magnitudes `[C, F, T]` of latents `[C, D, T']`, with the fluctuations of `noise_for`."""
    return _by_rows(partial(vae.log_magnitude, contrast=contrast), latents.to(vae.device), noise)


@torch.no_grad()
def synthesize(
    vae: VAE, representation: MagnitudeIF, decoded: Tensor, noise: Tensor, samples: int, coherence: Tensor
) -> Tensor:
    """Return the waveform `[C, N]` with N = `samples` of log-magnitudes `[C, F, T]`, as `decode` does."""
    covariance_of = partial(covariance_from, coherence)
    made = representation.samples(noise.shape[-1])
    if representation.frames(samples) == noise.shape[-1]:
        made = samples
    return _sound(vae, representation, decoded, noise, made, covariance_of)[..., :samples]


def _whole_samples(vae: VAE, representation: MagnitudeIF, latents: Tensor, samples: int) -> int:
    """Return how many samples to decode, of which `samples` are asked for.

    Noise is drawn for as many frames as the latents have, also where fewer are asked for.
    """
    if vae.latent_frames(representation.frames(samples)) == latents.shape[-1]:
        return samples
    return representation.samples(latents.shape[-1] * vae.stride)


@torch.no_grad()
def bank_statistics(vae: VAE, representation: MagnitudeIF, bank: Sequence[Encoded]) -> Statistics:
    """Return what `draw` needs of all recordings of a bank."""
    codes = [code_of(vae, representation, each) for each in bank]
    return statistics_of(vae, codes, filled=[_filled(vae, representation, each) for each in bank])


@torch.no_grad()
def draw(
    vae: VAE,
    representation: MagnitudeIF,
    bank: Sequence[Encoded],
    statistics: Statistics,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    seconds: float | None = None,
) -> tuple[Encoded, int]:
    """Draw a new sound, and return its latents and its length in samples. It is stereo if one of two is.

    `statistics` are those that `bank_statistics` returns for the bank.

    Two different entries of `bank` are drawn at random, resized to one length, and mixed band by band (see
    `mix`). `temperature` scales the random deviation from them. The loudness is their average, limited to
    the 5th to 95th percentile of the bank. The length is their average, too, unless `seconds` is given.
    Latents drawn from the prior instead would lack the temporal structure of sounds: onset, sustain and
    decay.
    """
    vae.eval()
    drawn = torch.randperm(len(bank), generator=generator)[:2].tolist()
    pair = [bank[drawn[0]], bank[drawn[-1]]]
    if seconds is None:
        samples = max(1, round(sum(length_of(vae, representation, each) for each in pair) / 2))
    else:
        samples = int(seconds * representation.sample_rate)
    channels = max(len(each.latents) for each in pair)
    code, mixture = mix(
        vae,
        [code_of(vae, representation, each).expand(channels, -1, -1) for each in pair],
        statistics,
        length=vae.code_frames(representation.frames(samples)),
        temperature=temperature,
        generator=generator,
    )
    # A mean of two coherences is a coherence. A mono recording is expanded to fully coherent channels.
    first, second = (each.coherence.expand(channels, channels, -1) for each in pair)
    bands = (torch.arange(representation.bins) // BAND).clamp(max=len(mixture) - 1)
    coherence = torch.lerp(first, second, mixture.mean(dim=1)[bands].to(first.dtype))
    contrast = _CONTRAST if vae.axes is None else _CONTRAST_OF_SMALL
    return Encoded(vae.reduce(code), coherence, samples, contrast), samples


def quietest(vae: VAE, statistics: Statistics) -> float:
    """Return the level of the quietest sound that `draw` returns: its RMS in dB relative to full scale."""
    # The squared amplitudes of all bins of white noise add up to 3 times its power.
    return 10 * math.log10(math.exp(statistics.lowest) * BAND * vae.bands / 3)


def length_of(vae: VAE, representation: MagnitudeIF, encoded: Encoded) -> int:
    """Return the number of samples of a recording, or that of its latents if it is unknown."""
    held = representation.samples(encoded.latents.shape[-1] * vae.stride)
    return held if encoded.samples is None else min(held, encoded.samples)


@torch.no_grad()
def code_of(vae: VAE, representation: MagnitudeIF, encoded: Encoded) -> Tensor:
    """Return the rich code `[C, R, S]` of a recording up to its end, on the device of the model."""
    frames = vae.code_frames(representation.frames(length_of(vae, representation, encoded)))
    return vae.expand(encoded.latents.to(vae.device))[..., :frames]


def _filled(vae: VAE, representation: MagnitudeIF, encoded: Encoded) -> float:
    """Return the share of the frames of its rich code that the samples of a recording fill."""
    if encoded.samples is None:
        return 1.0
    samples = length_of(vae, representation, encoded)
    frames = vae.code_frames(representation.frames(samples))
    return min(1.0, samples / (frames * STRIDE * representation.hop))
