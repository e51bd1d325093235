"""``python -m deepfake_jax``: the same as the command ``deepfake-jax``."""

from deepfake_jax.cli import main

main()
