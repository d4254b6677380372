"""Loss terms with a frequency weighting like that of the ear, and their views. Loads no torch."""

from collections.abc import Iterable

from distill import TermSpec, hookimpl
from distill_perceptual.configs import LoudnessConfig, SumDifferenceConfig, WeightedStftConfig

_PAIRS = "a sound is a pair of neighbouring rows"


@hookimpl
def distill_loss_terms() -> Iterable[TermSpec]:
    """Yield the terms of this distribution."""
    yield TermSpec(
        name="weighted_stft",
        config=WeightedStftConfig,
        build="distill_perceptual.terms:WeightedStftTerm",
        summary="multi-resolution STFT of the A- or K-weighted waveforms",
        per_example=False,
    )
    yield TermSpec(
        name="loudness",
        config=LoudnessConfig,
        build="distill_perceptual.terms:LoudnessTerm",
        summary="difference in loudness (ITU-R BS.1770), block by block, in LU",
    )
    yield TermSpec(
        name="sum_difference",
        config=SumDifferenceConfig,
        build="distill_perceptual.terms:SumDifferenceTerm",
        summary="multi-resolution STFT of sum and difference of stereo: rows 2i left, 2i + 1 right",
        per_example=False,
        waivers={
            "finite": f"{_PAIRS}, and this check also uses an odd number of rows",
            "gradient": f"{_PAIRS}, and this check also uses an odd number of rows",
            "dual_mono": f"{_PAIRS}, and this check uses a single row",
            "permutation": f"{_PAIRS}, which a permutation separates",
        },
    )
