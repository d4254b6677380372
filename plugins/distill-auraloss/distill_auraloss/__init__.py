"""Every loss class of auraloss as a term of Distill. Loads no torch."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from distill import TermSpec, hookimpl
from distill_auraloss.options import config_class
from distill_auraloss.signatures import LossClass, loss_classes


@frozen(kw_only=True)
class _Facts:
    """Facts about a loss class that its signature does not contain."""

    summary: str
    build: str = "WaveformTerm"
    per_example: bool = False
    extra: Mapping[str, Any] = field(factory=dict)
    waivers: Mapping[str, str] = field(factory=dict)


_STFT = {"fft_size": 1024, "hop_size": 256, "win_length": 1024}
"""The STFT options of the terms that compare magnitudes: the defaults of auraloss's `STFTLoss`."""

_PAIRS = "a sound is a pair of neighbouring rows"
_DRAWN = "each call draws other resolutions"
_SETS_BUFFER = "auraloss sets a buffer at each call, which torch cannot compile"

_FACTS = {
    "ESRLoss": _Facts(summary="error energy by target energy (Wright & Välimäki, 2019)", per_example=True),
    "DCLoss": _Facts(summary="squared error of the mean by target power", per_example=True),
    "LogCoshLoss": _Facts(summary="log-cosh of the error (Chen et al., 2019)", per_example=True),
    "SNRLoss": _Facts(summary="negative signal-to-noise ratio, in dB", per_example=True),
    "SISDRLoss": _Facts(
        summary="negative scale-invariant signal-to-distortion ratio, in dB (Le Roux et al., 2018)",
        per_example=True,
        waivers={
            "minimum": "the term is scale-invariant: a louder copy has the same loss, except for rounding"
        },
    ),
    "SDSDRLoss": _Facts(
        summary="negative scale-dependent signal-to-distortion ratio, in dB (Le Roux et al., 2018)",
        per_example=True,
    ),
    "SpectralConvergenceLoss": _Facts(
        summary="spectral convergence of STFT magnitudes (Arik et al., 2018)",
        build="MagnitudeTerm",
        extra=_STFT,
    ),
    "STFTMagnitudeLoss": _Facts(
        summary="distance of STFT magnitudes or of their logarithms (Arik et al., 2018)",
        build="MagnitudeTerm",
        per_example=True,
        extra=_STFT,
    ),
    "STFTLoss": _Facts(summary="STFT distance at one resolution (Yamamoto et al., 2019)"),
    "MelSTFTLoss": _Facts(summary="STFT distance on the mel scale", waivers={"compiled": _SETS_BUFFER}),
    "ChromaSTFTLoss": _Facts(
        summary="STFT distance of pitch classes", build="ChromaTerm", waivers={"compiled": _SETS_BUFFER}
    ),
    "MultiResolutionSTFTLoss": _Facts(summary="STFT distance at several resolutions (Yamamoto et al., 2019)"),
    "RandomResolutionSTFTLoss": _Facts(
        summary="STFT distance at resolutions drawn at random (Steinmetz & Reiss, 2020)",
        build="RandomTerm",
        extra={"seed": 0},
        waivers=dict.fromkeys(
            (
                "deterministic",
                "phase_turn",
                "dual_mono",
                "permutation",
                "float64",
                "pickled",
                "copied",
                "compiled",
            ),
            _DRAWN,
        ),
    ),
    "SumAndDifferenceSTFTLoss": _Facts(
        summary="STFT distance of sum and difference of stereo rows 2i, 2i + 1 (Steinmetz et al., 2020)",
        build="StereoTerm",
        waivers={
            "finite": f"{_PAIRS}, and this check also uses an odd number of rows",
            "gradient": f"{_PAIRS}, and this check also uses an odd number of rows",
            "dual_mono": f"{_PAIRS}, and this check uses a single row",
            "permutation": f"{_PAIRS}, which a permutation separates",
        },
    ),
}


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield a term for every loss class of auraloss."""
    for loss in loss_classes().values():
        facts = _FACTS.get(loss.name, _Facts(summary=loss.summary))
        yield TermSpec(
            name=term_name(loss),
            config=config_class(term_name(loss), loss, dict(facts.extra)),
            build=f"distill_auraloss.term:{facts.build}",
            summary=facts.summary,
            per_example=facts.per_example,
            waivers=facts.waivers,
        )


def term_name(loss: LossClass) -> str:
    """Return the name of the term of a loss class, such as `auraloss_mel_stft` for `MelSTFTLoss`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", loss.name.removesuffix("Loss"))
    return f"auraloss_{words.lower()}"
