"""How much is tried, and by which seed: a new one each day, told when a test fails.

``FAULTS_SEED`` repeats a day's tries, ``FAULTS_SCALE`` makes them so many times more
(`make faults`), ``FAULTS_JOBS`` names the jobs, by commas.
"""

import datetime
import os
import random
import zlib
from collections.abc import Sequence

from faults.jobs import Job, find_jobs

SEED = int(os.environ.get("FAULTS_SEED") or datetime.date.today().toordinal())
SCALE = float(os.environ.get("FAULTS_SCALE") or 1)
NAMES = tuple(filter(None, os.environ.get("FAULTS_JOBS", "").split(",")))


def make_random(name: str) -> random.Random:
    """A generator of its own for each test."""
    return random.Random(SEED * 2**32 + zlib.crc32(name.encode()))


def scale(count: float) -> int:
    """How many tries instead of the short run's."""
    return max(1, round(count * SCALE))


def draw_jobs(
    rng: random.Random, count: int, *, among: Sequence[Job] = tuple(find_jobs())
) -> list[Job]:
    """Some of these jobs; all there are in the long run, or those named."""
    if NAMES:
        return find_jobs(*NAMES)
    return find_jobs() if SCALE > 1 else rng.sample(among, count)


def explain(lost: list[str]) -> str:
    """What went wrong, and how to see it again."""
    return f"FAULTS_SEED={SEED} FAULTS_SCALE={SCALE:g}\n" + "\n".join(lost)
