"""``python -m deepfake_jax``: the same as the command ``deepfake-jax``."""

from deepfake_jax.cli.main import main

main()
