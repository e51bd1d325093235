"""The same as `deepfake-jax benchmark`, for those who run scripts from a checkout."""

import sys

from deepfake_jax.cli.main import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
