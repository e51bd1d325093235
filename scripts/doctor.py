"""The same as `deepfake-jax doctor`, for those who run scripts from a checkout."""

import sys

from deepfake_jax.cli.main import main

if __name__ == "__main__":
    main(["doctor", *sys.argv[1:]])
