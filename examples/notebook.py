"""Train on arrays with a custom term, then use the model: cells for a notebook."""

# %% Sounds as arrays, and a term that needs no package
import torch
from torch import nn

import distill
from distill import LossInputs, Observer, Record, TermConfig, TermSpec

time = torch.arange(8_000) / 16_000
pitches = {"low": 220, "middle": 330, "high": 550, "top": 880}
corpus = [(name, 0.5 * torch.sin(6.283 * hz * time), 16_000) for name, hz in pitches.items()]


class Even(nn.Module):
    """Penalize the difference between successive latent frames."""

    def __init__(self, _: TermConfig) -> None:
        super().__init__()

    def forward(self, inputs: LossInputs) -> torch.Tensor:
        return inputs.posterior.mu.diff(dim=-1).abs().mean()


even = TermSpec(name="even", config=TermConfig, build=Even, summary="even latents")


# %% Train a small model, and see the loss fall
class Watch(Observer):
    """Print the loss of each step."""

    def record(self, record: Record) -> None:
        if record.split == "train":
            print(record.step, {"total": round(record.components["total"], 3)})


small = {"representation.sample_rate": 16_000, "representation.n_fft": 512, "representation.hop": 128}
small |= {"model.width": 32, "training.clip_seconds": 0.4, "training.log_every": 1}
small |= {"training.learning_rate": 5e-3, "training.warmup_steps": 5, "training.evaluations": 3}
small |= {"recon.weight": 1.0}
loss = ["stft", "recon", even]
run = distill.train(corpus, loss=loss, steps=30, options=small, device="cpu", observer=Watch())

# %% Reconstruct a sound, generate new ones, and evaluate the model
model = distill.load(run)
again = model.reconstruct(corpus[0][1])
sounds = model.generate(4, seed=0)
print(again.shape, len(sounds))
print(model.evaluate(corpus, visqol=False))
