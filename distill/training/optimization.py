"""Gradient computation and optimizer steps for the model and for loss terms with trained parameters."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from distill.config.settings import TrainingSettings
from distill.errors import ConfigError
from distill.loss.components import GRADIENT_NORM, OBJECTIVE, TOTAL, gradient_norm_name
from distill.loss.composer import CombinedLoss
from distill.model import VAE

_FINAL_RATE = 0.01


class Optimization:
    """One AdamW optimizer for the model, which minimizes the loss's `total`, and one for each trained term.

    All optimizers follow one learning rate schedule, and a step with non-finite values is skipped by all.
    """

    def __init__(
        self, settings: TrainingSettings, accelerator: Accelerator, model: nn.Module, loss: CombinedLoss
    ) -> None:
        self.settings, self.accelerator = settings, accelerator
        self.model, self.own = model, loss.trained_terms()
        rate, encoder_rate = settings.rates(begun=False)
        self.optimizer = self._adamw(model, rate, (0.9, 0.999), encoder_rate)
        self.own_optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, term in self.own.items():
            config = getattr(loss.config, name)
            self.own_optimizers[name] = self._adamw(term, config.learning_rate, config.betas)
        self._all = [self.optimizer, *self.own_optimizers.values()]
        self._highest = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all]

    def _adamw(
        self, module: nn.Module, rate: float, betas: tuple[float, float], encoder_rate: float = 1.0
    ) -> torch.optim.AdamW:
        """Return an optimizer. The learning rate of encoder parameters is multiplied by `encoder_rate`."""
        encoder = list(module.encoder_parameters()) if isinstance(module, VAE) else []
        known = {id(parameter) for parameter in encoder}
        others = [parameter for parameter in module.parameters() if id(parameter) not in known]
        groups = [{"params": others, "lr": rate}]
        if encoder:
            groups.append({"params": encoder, "lr": rate * encoder_rate})
            # A frozen encoder needs no gradient, and does not count when the gradient is clipped.
            for parameter in encoder:
                parameter.requires_grad_(encoder_rate > 0)
        return torch.optim.AdamW(groups, rate, betas, weight_decay=self.settings.weight_decay, fused=True)

    def differentiate(self, components: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the gradients of all parameters and clip them; return their norms before clipping.

        Raises:
            ConfigError: the encoder is frozen, and no term depends on the decoder's output.
        """
        for optimizer in self._all:
            optimizer.zero_grad()
        if not components[TOTAL].requires_grad:
            raise ConfigError(
                "loss: no term depends on the decoder's output, and the encoder is frozen, so that nothing "
                "would be trained; add a term such as stft, or set training.encoder_rate = 1"
            )
        self.accelerator.backward(components[TOTAL])
        norms = {GRADIENT_NORM: self._clip([*self.model.parameters()])}
        if OBJECTIVE not in components:
            return norms
        self.accelerator.backward(components[OBJECTIVE])
        for name, term in self.own.items():
            learnt = [parameter for parameter in term.parameters() if parameter.grad is not None]
            if learnt:
                self._average(learnt)
                norms[gradient_norm_name(name)] = self._clip(learnt)
        return norms

    def _average(self, learnt: list[nn.Parameter]) -> None:
        """Average the gradients over all processes. For the model, its DDP wrapper does so."""
        if self.accelerator.num_processes > 1:
            means = self.accelerator.reduce([parameter.grad for parameter in learnt], reduction="mean")
            for parameter, mean in zip(learnt, means, strict=True):
                parameter.grad = mean

    def _clip(self, learnt: list[nn.Parameter]) -> Tensor:
        return clip_grad_norm_(learnt, self.settings.max_gradient_norm)

    def step(self, number: int, progress: float, bad: Tensor) -> None:
        """Take a step at the learning rate of its number and progress; skip it if `bad` is 1."""
        factor = self.rate_factor(number, progress)
        for optimizer, highest in zip(self._all, self._highest, strict=True):
            for group, rate in zip(optimizer.param_groups, highest, strict=True):
                group["lr"] = rate * factor
            # A fused optimizer skips the step if this is 1, without synchronizing with the host.
            optimizer.found_inf = bad  # type: ignore[attr-defined]  # as a gradient scaler sets it
            optimizer.step()

    def learning_rate(self, number: int, progress: float) -> float:
        """Return the learning rate of the model in a step, that of an encoder with a factor left out."""
        return self._highest[0][0] * self.rate_factor(number, progress)

    def rate_factor(self, number: int, progress: float) -> float:
        """Return the factor on learning rates: a linear warm-up, then cosine decay to 0.01."""
        warmup = min(1.0, (number + 1) / (self.settings.warmup_steps + 1))
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return warmup * (_FINAL_RATE + (1 - _FINAL_RATE) * cosine)

    def moments(self) -> dict[str, Tensor]:
        """Return the moments of the gradients that the optimizers keep, by name."""
        return {
            f"{name} of weight {number} in optimizer {place}": moment
            for place, optimizer in enumerate(self._all)
            for number, kept in enumerate(optimizer.state.values())
            for name, moment in kept.items()
            if name in ("exp_avg", "exp_avg_sq")
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every optimizer."""
        own = {name: optimizer.state_dict() for name, optimizer in self.own_optimizers.items()}
        return {"optimizer": self.optimizer.state_dict(), "own_optimizers": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned.

        Raises:
            ValueError, KeyError, TypeError: it is that of other parameters, or lacks something.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        for name, own in state.get("own_optimizers", {}).items():
            self.own_optimizers[name].load_state_dict(own)
        # torch compares the number of parameters only.
        for optimizer in self._all:
            for parameter, moments in optimizer.state.items():
                shapes = [moments[name].shape for name in ("exp_avg", "exp_avg_sq")]
                if shapes != [parameter.shape] * 2 or moments["step"].numel() != 1:
                    raise ValueError(f"moments of shape {shapes} for a parameter of {parameter.shape}")
