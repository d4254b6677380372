"""The VAE, its layers and its code, and the functions that make sounds with it."""

from distill.model.vae import LOGVAR_BOUND as LOGVAR_BOUND
from distill.model.vae import VAE as VAE
