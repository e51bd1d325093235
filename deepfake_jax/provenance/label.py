"""The visible label: what people see, where the law asks for it.

A text or a small sign in a corner of every frame, as large as the frame asks for, all
the time or faded in and out at the beginning. The sign is this project's own drawing.
"""

import functools
import locale
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from av import VideoFrame
from jaxtyping import Float32
from PIL import Image, ImageDraw, ImageFont

from deepfake_jax.convert_config import LabelCorner, LabelTime
from deepfake_jax.media.frame_parts import can_paste, cut_region, paste_native
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.types import Frame

ICON, AUTO = "icon", "auto"
_SHOWN, _FADE = 6.0, 0.6  # seconds from the start; of each fade
_SHARE, _LEAST = 0.045, 11  # height of the letters: of the short side; pixels
# "Made by AI" in the languages of the European Union, by the code of each.
_TEXTS: Mapping[str, str] = {
    "bg": "Генерирано с ИИ",
    "cs": "Vytvořeno pomocí AI",
    "da": "AI-genereret",
    "de": "KI-generiert",
    "el": "Δημιουργήθηκε με ΤΝ",
    "en": "AI-generated",
    "es": "Generado por IA",
    "et": "Tehisintellekti loodud",
    "fi": "Tekoälyn tuottama",
    "fr": "Généré par IA",
    "ga": "Ginte ag IS",
    "hr": "Generirano umjetnom inteligencijom",
    "hu": "MI-vel készült",
    "it": "Generato dall'IA",
    "lt": "Sukurta DI",
    "lv": "Radīts ar MI",
    "mt": "Iġġenerat bl-IA",
    "nl": "AI-gegenereerd",
    "pl": "Wygenerowane przez AI",
    "pt": "Gerado por IA",
    "ro": "Generat de IA",
    "sk": "Vytvorené pomocou AI",
    "sl": "Ustvarjeno z UI",
    "sv": "AI-genererat",
}

_Tile = Float32[np.ndarray, "rows columns 4"]


class VisibleLabel:
    """Draws a label onto frames.

    Args:
        text: what it says; "auto" for "AI-generated" in the user's language, "icon"
            for the sign.
        corner: where.
        time: all the time, or at the beginning only.
    """

    HELD: ClassVar[float] = _SHOWN / 2  # seconds at which it is seen in any case

    def __init__(self, text: str, *, corner: LabelCorner, time: LabelTime):
        self.text = say_in_own_language() if text == AUTO else text
        self._corner, self._time = corner, time

    def opacity(self, seconds: float) -> float:
        """How much of it is seen so long after the first frame, from 0 to 1."""
        if self._time == "all":
            return 1.0
        left = min(seconds + 1 / 24, _SHOWN - seconds)
        return float(np.clip(left / _FADE, 0.0, 1.0))

    def draw(
        self, shown: Frame | VideoFrame, *, seconds: float = 0.0
    ) -> Frame | VideoFrame:
        """A copy of a frame with the label on it; the frame itself where it is gone.

        Args:
            shown: RGB, or as an encoder gets it.
            seconds: since the first frame.
        """
        opacity = self.opacity(seconds)
        if opacity == 0.0:
            return shown
        native = shown if isinstance(shown, VideoFrame) else None
        if native is not None and not can_paste(native):
            shown, native = convert_to_rgb(native), None
        if native is None:
            assert isinstance(shown, np.ndarray)
            drawn = shown.copy()
            height, width = drawn.shape[:2]
            tile = _draw_tile(self.text, height, width)
            x, y = self._place(tile, height, width)
            _blend(drawn[y : y + len(tile), x : x + tile.shape[1]], tile, opacity)
            return drawn
        tile = _draw_tile(self.text, native.height, native.width)
        x, y = self._place(tile, native.height, native.width)
        box = np.array([x, y, tile.shape[1], tile.shape[0]], float)
        timed = TimedFrame(index=0, time=0.0, pts=0, duration=1, native=native)
        region = cut_region(timed, box, tone=False)
        pixels, changed = region.pixels.copy(), np.zeros(region.pixels.shape[:2], bool)
        rows = slice(y - region.y, y - region.y + len(tile))
        columns = slice(x - region.x, x - region.x + tile.shape[1])
        _blend(pixels[rows, columns], tile, opacity)
        changed[rows, columns] = tile[..., 3] > 0
        return paste_native(native, pixels, x=region.x, y=region.y, changed=changed)

    def _place(self, tile: _Tile, height: int, width: int) -> tuple[int, int]:
        """Column and row of the tile's upper left pixel."""
        gap = round(0.03 * min(height, width))
        rows, columns = tile.shape[:2]
        right, below = self._corner.endswith("right"), self._corner.startswith("bottom")
        x = width - columns - gap if right else gap
        y = height - rows - gap if below else gap
        return max(0, x), max(0, y)


def say_in_own_language() -> str:
    """ "AI-generated" in the language of the user's settings, or else in English."""
    name = locale.getlocale()[0] or locale.setlocale(locale.LC_CTYPE) or "en"
    return _TEXTS.get(name[:2].lower(), _TEXTS["en"])


def _blend(pixels: Frame, tile: _Tile, opacity: float) -> None:
    """Lays a tile over pixels, in place."""
    share = tile[..., 3:] * opacity
    mixed = pixels * (1 - share) + 255 * tile[..., :3] * share
    pixels[:] = np.rint(mixed).astype(np.uint8)


@functools.lru_cache(maxsize=4)
def _draw_tile(text: str, height: int, width: int) -> _Tile:
    """The label as RGB and opacity from 0 to 1, no larger than the frame."""
    size = max(_LEAST, round(_SHARE * min(height, width)))
    said = "AI" if text == ICON else text
    while True:
        font = ImageFont.truetype(_find_font(bold=text == ICON), size)
        left, top, right, bottom = font.getbbox(said)
        pad = max(3, round(size * 0.45))
        columns, rows = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
        if (columns < 0.9 * width and rows < 0.9 * height) or size <= 6:
            break
        size -= 1
    tile = Image.new("RGBA", (columns, rows), (0, 0, 0, 0))
    draw = ImageDraw.Draw(tile)
    frame = max(1, size // 12) if text == ICON else 0
    draw.rounded_rectangle(
        (0, 0, columns - 1, rows - 1),
        radius=pad,
        fill=(0, 0, 0, 165),
        outline=(255, 255, 255, 255) if frame else None,
        width=frame,
    )
    draw.text((pad - left, pad - top), said, font=font, fill=(255, 255, 255, 255))
    drawn = np.asarray(tile, np.float32)[:height, :width] / 255
    drawn.flags.writeable = False
    return drawn


def _find_font(*, bold: bool) -> Path:
    # It comes with a package that is needed anyway but where runs are only exported
    # ones, and knows Greek and Cyrillic.
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "the visible label is drawn in a font of matplotlib, which is not "
            "installed; pip install matplotlib"
        ) from error
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
