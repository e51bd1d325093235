"""Draws the guide's pictures into docs/assets, with the package's own functions.

    python docs/drawings.py

`sample_people` says who is in them and by whose leave.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from chapter_drawings import CHAPTERS
from figures import ASSETS, save
from function_drawings import FUNCTIONS
from sample_people import Samples


def main() -> None:
    """Draws all, or those that are named."""
    drawings = {draw.__name__: draw for draw in CHAPTERS} | FUNCTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these pictures")
    names = parser.parse_args().names or list(drawings)
    ASSETS.mkdir(exist_ok=True)
    matplotlib.rcParams["figure.dpi"] = 110
    with tempfile.TemporaryDirectory() as folder:
        samples = Samples(Path(folder))
        for name in names:
            path = save(name, drawings[name](samples))
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
