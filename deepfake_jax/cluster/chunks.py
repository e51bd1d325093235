"""Which frames are a chunk: decided by the video alone, never by who does the work."""

from bisect import bisect_right

from deepfake_jax.conversion.film_parts import FilmPart
from deepfake_jax.media.frame_index import FrameIndex

MOST_FRAMES = 2000
_LEAST_FRAMES = 16  # an encoder's first frames have odd times in shorter ones


def plan_chunks(
    index: FrameIndex,
    *,
    begin: int = 0,
    end: int | None = None,
    most: int = MOST_FRAMES,
) -> list[FilmPart]:
    """Cuts a video, or a part of it, into chunks.

    They are alike in length, so that no worker waits for the others, and end at key
    frames where there is one in the second half of what a chunk is to have, so that
    little is decoded twice. A video whose index cannot be trusted is one
    chunk: each would have to be decoded from the start.

    Args:
        index: of the video.
        begin: number of the first frame that is wanted.
        end: of the one after the last; None is the end of the video.
        most: frames of a chunk.

    Raises:
        ValueError: fewer frames than a chunk has to have.
    """
    if most < 2 * _LEAST_FRAMES:
        raise ValueError(
            f"chunks of {most} frames are too small: {2 * _LEAST_FRAMES} are the least"
        )
    count = len(index.stamps)
    stop = count if end is None else min(end, count)
    if index.distrust or stop - begin <= most:
        return [FilmPart(begin, end, begin, end)]
    cuts = [begin]
    while stop - cuts[-1] > most:
        left = stop - cuts[-1]
        length = -(-left // -(-left // most))
        key = index.keys[bisect_right(index.keys, cuts[-1] + length) - 1]
        near = key - cuts[-1] >= max(_LEAST_FRAMES, length // 2)
        cuts.append(key if near else cuts[-1] + length)
    lasts: list[int | None] = [*cuts[1:], end]
    return [
        FilmPart(first, last, begin, end)
        for first, last in zip(cuts, lasts, strict=True)
    ]
