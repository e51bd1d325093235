"""The page in a real browser: consent, keyboard, reloads, Stop, colors."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from footage import make_face
from studio_browser import Page, open_page, wait_for_text
from studio_client import StudioClient
from videos import make_video

from deepfake_jax.face_sets.face_set import read_record
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.studio.texts import load_texts

TEXTS = load_texts()
SLEEP = ["-n", "1", "-r", "1", "import time; time.sleep(120)"]


def test_first_start_asks_once_whether_the_people_agreed(page: Page):
    page.allowed = {400}
    page.open()
    at = page.page
    at.get_by_label(TEXTS["projects"]["name"]).fill("../x")
    at.keyboard.press("Enter")
    wait_for_text(page, "beginning with a letter", "form")
    invalid = at.get_by_label(TEXTS["projects"]["name"])
    assert invalid.get_attribute("aria-invalid") == "true"
    invalid.fill("holiday")
    at.keyboard.press("Enter")
    at.wait_for_selector("dialog")
    assert not (page.client.root / "holiday" / "consent.json").exists()
    at.get_by_role("button", name=TEXTS["consent"]["yes"]).click()
    wait_for_text(page, TEXTS["errors"]["not_agreed"], "dialog")
    at.get_by_label(TEXTS["consent"]["statement"]).check()
    at.get_by_label(TEXTS["consent"]["who"]).fill("A. Tester")
    at.keyboard.press("Enter")
    at.wait_for_selector("main.footage h1")
    consent = json.loads((page.client.root / "holiday" / "consent.json").read_text())
    assert consent["confirmed"] is True and consent["by"] == "A. Tester"
    at.reload()
    at.wait_for_selector("main.footage h1")
    assert at.query_selector("dialog") is None


def test_the_whole_page_is_worked_by_keyboard_alone(page: Page, project: Path):
    page.open("footage", project)
    at = page.page
    at.reload()  # a page that was just opened begins at its top
    at.wait_for_selector("main.footage h1")
    at.keyboard.press("Tab")
    assert at.evaluate("document.activeElement.id") == "skip"
    for _ in range(3):
        at.keyboard.press("Tab")
    assert "faces" in at.evaluate("document.activeElement.getAttribute('href')")
    at.keyboard.press("Enter")
    at.wait_for_selector("main.faces .cell")
    at.locator(".grid").focus()
    for key in ("ArrowRight", " ", "Shift+ArrowRight", "Shift+ArrowRight"):
        at.keyboard.press(key)
    chosen = at.locator('.cell[aria-selected="true"]').count()
    assert chosen == 3
    at.keyboard.press("Delete")
    wait_for_text(page, "3 faces are left out", ".messages")
    assert len(read_record(project / "faces_a")[1]) == 27
    at.get_by_label(TEXTS["faces"]["show_what"]).select_option("dropped")
    at.wait_for_function("document.querySelectorAll('.cell:not([hidden])').length == 3")
    at.locator(".grid").focus()
    at.keyboard.press("Control+a")
    bring = at.get_by_role("button", name=TEXTS["faces"]["restore"], exact=True)
    bring.press("Enter")
    wait_for_text(page, "3 faces are back", ".messages")
    assert len(read_record(project / "faces_a")[1]) == 30


def test_a_bad_query_is_told_at_its_field(page: Page, project: Path):
    page.allowed = {400}
    page.open("faces", project)
    page.page.get_by_label(TEXTS["faces"]["query"], exact=True).fill("beauty>3")
    page.page.keyboard.press("Enter")
    wait_for_text(page, "is none of")


def test_a_reload_shows_what_runs_and_stop_stops_it(page: Page, project: Path):
    jobs, cache = page.client.studio.jobs, project / ".studio"
    facts = {"run": "run 1", "minutes": 1}
    name = jobs.start(cache, "train", SLEEP, facts, module="timeit")
    page.allowed = {400}
    for _ in range(2):  # opened, then opened anew
        page.open("train", project)
        wait_for_text(page, f"Training: {TEXTS['jobs']['state']['running']}", "main")
        page.page.reload()
    wait_for_text(page, f"Training: {TEXTS['jobs']['state']['running']}", "main")
    page.page.get_by_role("button", name=TEXTS["jobs"]["stop"]).click()
    wait_for_text(page, f"Training: {TEXTS['jobs']['state']['stopped']}", "main")
    name = jobs.start(cache, "train", SLEEP, facts, module="timeit")
    wait_for_text(page, f"Training: {TEXTS['jobs']['state']['running']}", "main")
    os.kill(jobs.started[cache / "jobs" / name].pid, signal.SIGKILL)
    wait_for_text(page, TEXTS["jobs"]["killed"], "main")


def test_footage_that_the_browser_cannot_play_is_copied(page: Page):
    at, root = page.page, page.client.root
    make_video(
        root / "phone.mkv",
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": "log-level=none"},
    )
    folder = page.client.make_project("phone")
    facts = {"project": str(folder), "side": "a", "path": str(root / "phone.mkv")}
    assert page.client.post("/api/footage", **facts).status == 200
    page.open("footage", folder)
    at.locator("button.clip", has_text="phone.mkv").click()
    at.get_by_role("button", name=TEXTS["player"]["copy"]).click()
    at.wait_for_function(
        "document.querySelector('video')?.readyState >= 2", timeout=240_000
    )
    assert at.evaluate("document.querySelector('video').duration") > 0.9
    page.open("footage", folder)  # from now on it plays at once
    at.reload()
    at.locator("button.clip", has_text="phone.mkv").click()
    at.wait_for_function("document.querySelector('video')?.readyState >= 2")


def test_a_folder_is_gone_through_picture_by_picture(page: Page, project: Path):
    """And people who were told apart can be chosen."""
    at, root = page.page, page.client.root
    page.allowed = {400}  # the run was never trained
    (root / "photos").mkdir()
    for number in range(3):
        write_picture(root / "photos" / f"{number}.png", make_face(number))
    facts = {"project": str(project), "side": "b", "path": str(root / "photos")}
    assert page.client.post("/api/footage", **facts).status == 200
    page.open("convert", project)
    text = TEXTS["convert"]
    at.get_by_label(text["source"], exact=True).select_option(str(root / "photos"))
    wait_for_text(page, "1 / 3", ".stage")
    with at.expect_request(lambda r: "photos/1.png" in (r.post_data or "")):
        at.get_by_role("button", name=TEXTS["player"]["next"]).click()
    wait_for_text(page, "2 / 3", ".stage")
    assert at.get_by_label(TEXTS["footage"]["start"], exact=True).is_hidden()
    people = at.get_by_label(text["look"]["person"], exact=True)
    assert people.locator("option").count() == 5
    at.locator("summary", has_text=text["more"]).click()
    meant = '"person":"faces_b/person_2"'
    with at.expect_request(lambda r: meant in (r.post_data or "")):
        people.select_option("faces_b/person_2")


def test_page_is_light_and_quick(browser: Any, studio: StudioClient, capsys):
    with open_page(browser, studio) as page:
        page.open()
        begun = time.perf_counter()
        page.page.reload()
        page.page.wait_for_selector("main.projects h1")
        seconds = time.perf_counter() - begun
        entries = page.page.evaluate(
            "performance.getEntriesByType('resource').map((e) => e.encodedBodySize)"
        )
        document = page.page.evaluate(
            "performance.getEntriesByType('navigation')[0].encodedBodySize"
        )
        size = sum(entries) + document
        with capsys.disabled():
            print(
                f"\npage: {size / 1000:.0f} kB, {1000 * seconds:.0f} ms to its heading"
            )
        assert 20_000 < size < 150_000
        assert seconds < 10  # 0.3 s on a machine that does nothing else
        page.check()


def test_colors_can_be_read():
    """Contrast of every text color on every ground, in both schemes: AA is 4.5."""
    style = (
        Path(__file__).parents[2] / "deepfake_jax/studio/page/style.css"
    ).read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    for scheme in (light, dark[:900]):
        colors = dict(read_colors(scheme))
        for ground in ("back", "panel", "soft", "stage"):
            for ink in ("ink", "faint", "accent", "bad", "good", "warn", "b"):
                ratio = contrast(colors[ink], colors[ground])
                assert ratio >= 4.5, f"{ink} on {ground}: {ratio:.2f}"
        assert contrast(colors["on-accent"], colors["accent"]) >= 4.5
        assert contrast(colors["panel"], colors["b"]) >= 4.5
        assert contrast(colors["field"], colors["panel"]) >= 3


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
