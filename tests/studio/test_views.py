"""The page's views in a real browser: sizes, names, thousands of faces."""

import os
from pathlib import Path
from typing import Any

import pytest
from footage import write_face_set
from studio_browser import open_page, wait_for_text
from studio_client import StudioClient

from deepfake_jax.face_sets.face_set import read_record, write_record
from deepfake_jax.studio.projects import VIEWS
from deepfake_jax.studio.texts import load_texts

TEXTS = load_texts()
MANY = 5000


LOOKS = [
    ({"width": 360, "height": 740}, "light"),
    ({"width": 1440, "height": 900}, "dark"),
    ({"width": 3840, "height": 2160}, "light"),
]


@pytest.mark.parametrize("size, scheme", LOOKS, ids=["phone", "dark", "4k"])
def test_each_view_fits_and_has_names_for_all(
    browser: Any, studio: StudioClient, project: Path, size, scheme, tmp_path: Path
):
    with open_page(browser, studio, viewport=size, color_scheme=scheme) as page:
        page.allowed = {400}  # the run was never trained
        for view in ("", *VIEWS):
            page.open(view, project)
            page.page.wait_for_timeout(400)
            # A person looks at these.
            folder = Path(os.environ.get("STUDIO_SHOTS", tmp_path))
            shot = folder / f"{view or 'projects'}-{size['width']}-{scheme}.png"
            page.page.screenshot(
                path=str(shot), full_page=size["width"] < 2000, timeout=120_000
            )
            wide = page.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], f"{view} is {wide} pixels wide"
            assert not page.page.evaluate(FIND_UNNAMED), view
            headings = page.page.evaluate("document.querySelectorAll('h1').length")
            assert headings == 1
        page.check()


# Elements that can be used and have no name that a screen reader could say.
FIND_UNNAMED = """() => [...document.querySelectorAll(
  'button, a[href], input, select, video, canvas, progress, [role=option]')]
  .filter((each) => !each.closest('[hidden], [role=img] *'))
  .filter((each) => each.offsetParent !== null)
  .filter((each) => !(each.getAttribute('aria-label') || each.innerText?.trim()
    || each.labels?.length || each.getAttribute('aria-labelledby')
    || each.querySelector?.('img[alt]:not([alt=""])')))
  .map((each) => each.outerHTML.slice(0, 120))"""


def make_many(folder: Path) -> None:
    """A set of thousands of faces, which share a few pictures on disk."""
    write_face_set(folder, 10)
    header, records = read_record(folder)
    more = []
    for number in range(MANY):
        like = records[number % 10]
        values = {**vars(like), "file": f"001_{number:06d}_0.png", "frame": number}
        os.link(folder / like.file, folder / values["file"])
        more.append(type(like)(**values))
    write_record(folder, header, more)


def test_thousands_of_faces_scroll_without_a_stutter(
    browser: Any, studio: StudioClient, capsys: pytest.CaptureFixture[str]
):
    folder = studio.make_project("many")
    make_many(folder / "faces_a")
    look = {"viewport": {"width": 1440, "height": 900}}
    with open_page(browser, studio, **look) as page:
        page.open("faces", folder)
        wait_for_text(page, "5,000 faces shown", "main")
        page.page.wait_for_timeout(500)
        tracer = page.page.context.new_cdp_session(page.page)
        # By the thread's own clock: other programs of the machine do not count.
        tracer.send("Performance.enable", {"timeDomain": "threadTicks"})
        read = lambda: {  # noqa: E731
            metric["name"]: metric["value"]
            for metric in tracer.send("Performance.getMetrics")["metrics"]
        }
        before = read()
        frames = page.page.evaluate(SCROLL, 120)
        spent = read()["TaskDuration"] - before["TaskDuration"]
        cells = page.page.locator(".cell").count()
        assert cells < 400
        each = 1000 * spent / frames
        with capsys.disabled():
            print(f"\n{frames} frames of scrolling, {each:.1f} ms of work each")
        assert each < 1000 / 60
        page.page.locator(".grid").focus()
        page.page.keyboard.press("End")
        last = f'.cell[aria-posinset="{MANY}"]'
        page.page.wait_for_selector(last)
        page.check()


SCROLL = """(count) => new Promise((resolve) => {
  const grid = document.querySelector('.grid');
  let frames = 0;
  const step = () => {
    grid.scrollTop += 60;
    frames += 1;
    frames < count ? requestAnimationFrame(step) : resolve(frames);
  };
  requestAnimationFrame(step);
})"""


def read_colors(scheme: str):
    import re

    for name, value in re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", scheme):
        full = "".join(2 * each for each in value) if len(value) == 3 else value
        yield name, tuple(int(full[i : i + 2], 16) / 255 for i in (0, 2, 4))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """As WCAG 2 has it."""

    def light(color: tuple[float, ...]) -> float:
        parts = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)
