"""HDR10's static data: what screen a film was graded on, and how bright it gets.

Reference:
    SMPTE ST 2086; CTA-861.3 for the light level.
"""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

# Encoders that take HDR10's static data: their option, the names of the screen and of
# the light level in it, and whether they count in units and not in the format's steps.
HDR10_ENCODERS = {
    "libx264": ("x264-params", "mastering-display", "cll", False),
    "libx265": ("x265-params", "master-display", "max-cll", False),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", True),
}


def add_hdr10(
    options: dict[str, str], codec: str, side_data: Mapping[str, bytes]
) -> None:
    """Add to an encoder's options what a source says; one that takes none is left.

    Args:
        options: of FFmpeg's encoder ``codec``.
        codec: it.
        side_data: of the source's first frame.
    """
    if codec not in HDR10_ENCODERS:
        return
    name, screen, light, unit = HDR10_ENCODERS[codec]
    said = []
    display = np.frombuffer(side_data.get("MASTERING_DISPLAY_METADATA", b""), "i4")
    if display.size >= 22 and display[20:22].all():
        places = [Fraction(*pair) for pair in display[:20].reshape(10, 2).tolist()]
        red, green, blue, white = (places[k : k + 2] for k in (0, 2, 4, 6))
        scale = (1, 1) if unit else (50_000, 10_000)
        values = [
            f"{k}({_join(v, scale[0])})"
            for k, v in zip(
                ("G", "B", "R", "WP"), (green, blue, red, white), strict=True
            )
        ]
        values.append(f"L({_join([places[9], places[8]], scale[1])})")
        said.append(f"{screen}={''.join(values)}")
    level = np.frombuffer(side_data.get("CONTENT_LIGHT_LEVEL", b""), "u4")
    if level.size >= 2:
        said.append(f"{light}={level[0]},{level[1]}")
    if said:
        options[name] = ":".join([*filter(None, [options.get(name)]), *said])


def _join(values: list[Fraction], scale: int) -> str:
    if scale == 1:
        return ",".join(f"{float(value):.5f}" for value in values)
    return ",".join(str(round(value * scale)) for value in values)
