"""Train a custom model with the combined loss, without Distill's trainer, command line or VAE."""

import torch
from torch import nn

from distill import LossInputs, MagnitudeIF, Posterior, Signal, compose

torch.manual_seed(0)
representation = MagnitudeIF(sample_rate=16_000, n_fft=512, hop=128)
loss = compose("waveform,recon,kl", {"reconstruction.weight": 1.0, "kl.free_bits": 0.05})


class TinyVAE(nn.Module):
    """Two linear layers with eight latents per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(representation.bins, 2 * 8)
        self.decoder = nn.Linear(8, 2 * representation.bins)

    def forward(self, spectrogram: torch.Tensor) -> tuple[torch.Tensor, Posterior]:
        mu, logvar = self.encoder(spectrogram[:, 0].mT).mT.tanh().chunk(2, dim=1)
        latents = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        magnitude, frequency = self.decoder(latents.mT).mT.chunk(2, dim=1)
        return torch.stack([magnitude.relu(), frequency.tanh()], dim=1), Posterior(mu=mu, logvar=logvar)


model = TinyVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(steps := 60):
    pitch = 110 * 2 ** torch.rand(4, 1).mul(3)
    waveform = 0.5 * torch.sin(2 * torch.pi * pitch * torch.arange(8_000) / 16_000)
    target = Signal.from_waveform(waveform, representation)
    spectrogram, posterior = model(representation(waveform))
    prediction = Signal.from_spectrogram(spectrogram, representation)
    components = loss(
        LossInputs(prediction=prediction, target=target, posterior=posterior, progress=step / steps)
    )
    optimizer.zero_grad()
    components["total"].backward()
    optimizer.step()
    print(step, {name: round(value.item(), 3) for name, value in components.items() if "/" not in name})
