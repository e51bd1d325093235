"""What this machine's processor can do."""

from functools import cache
from pathlib import Path


@cache
def read_processor() -> frozenset[str]:
    """The processor's flags in Linux's words, as `avx512f`; none on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    # "Features" on ARM.
    lines = (s for s in text.splitlines() if s.startswith(("flags", "Features")))
    return frozenset(next(lines, "").partition(":")[2].split())
