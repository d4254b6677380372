"""Compare the energy of two sounds band by band."""

import torch
from attrs import field, frozen, validators as v
from torch import Tensor, nn

from distill import LossInputs, TermConfig, TermSpec, hookimpl
from distill.views import Stft


@frozen(kw_only=True)
class BandEnergyConfig(TermConfig):  # TermConfig brings `weight` and `schedule`
    bands: int = field(default=8, validator=[v.ge(1), v.le(512)], metadata={"help": "frequency bands"})
    stft: Stft = Stft(n_fft=1024, hop=256)


class BandEnergy(nn.Module):
    def __init__(self, config: BandEnergyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:  # or dict[str, Tensor] of parts
        prediction, target = inputs.view(self.config.stft)  # complex [B, F, T], shared by all terms
        return (self._log_energy(prediction) - self._log_energy(target)).abs().mean()

    def _log_energy(self, spectrum: Tensor) -> Tensor:
        bands = spectrum.abs().square().tensor_split(self.config.bands, dim=-2)
        return torch.stack([band.mean(dim=-2) for band in bands]).add(1e-8).log()


@hookimpl
def distill_loss_terms():
    yield TermSpec(
        name="band_energy", config=BandEnergyConfig, build=BandEnergy, summary="energy per frequency band"
    )
