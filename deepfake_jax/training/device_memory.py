"""What to do when a device has no memory left for a batch."""

from collections.abc import Iterator
from contextlib import contextmanager

from deepfake_jax.training.processes import TrainingError


@contextmanager
def naming_batch_size(batch_size: int) -> Iterator[None]:
    """Says what to do where the block ends because a device has no memory left.

    Raises:
        TrainingError: that; anything else is passed on as it is.
    """
    try:
        yield
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fix = f"try --batch-size {batch_size // 2}" if batch_size > 1 else "take"
        more = ", a smaller --model.width," if batch_size > 1 else " a smaller network"
        first = str(error).splitlines()[0][:200]
        raise TrainingError(
            f"the device has no memory left for batch size {batch_size}: {fix}{more} "
            f"or another device ({first})"
        ) from error
