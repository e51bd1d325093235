"""The same as `deepfake-jax convert`, for those who run scripts from a checkout."""

import sys

from deepfake_jax.cli.main import main

if __name__ == "__main__":
    main(["convert", *sys.argv[1:]])
