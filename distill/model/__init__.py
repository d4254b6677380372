"""The VAE: local in frequency, with weights shared along it."""

from distill.model.vae import LOGVAR_BOUND as LOGVAR_BOUND
from distill.model.vae import VAE as VAE
