"""From an empty folder to a swapped video that the browser plays, by the page alone."""

import shutil

import pytest
from studio_browser import open_chromium, open_page
from studio_client import open_studio

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.studio.texts import load_texts

TEXTS = load_texts()
LONG = 400_000  # milliseconds; a busy machine compiles for minutes


@pytest.fixture
def root(tmp_path, detector_weights):
    """A folder with the samples that come in wheels."""
    try:
        shutil.copy(get_sample("carphone"), tmp_path / "man.mp4")
        shutil.copy(get_sample("astronaut"), tmp_path / "woman.png")
    except AssetError as error:
        pytest.skip(f"no samples: {error}")
    return tmp_path


def test_from_an_empty_folder_to_a_swapped_video(root, capsys):
    with open_studio(root) as studio, open_chromium() as browser:
        with open_page(
            browser, studio, viewport={"width": 1280, "height": 900}
        ) as page:
            page.allowed = {404}  # pictures of faces that were just moved
            at = page.page
            page.open()
            at.get_by_label(TEXTS["projects"]["name"]).fill("whole way")
            at.get_by_role("button", name=TEXTS["projects"]["create"]).click()
            at.get_by_label(TEXTS["consent"]["statement"]).check()
            at.get_by_label(TEXTS["consent"]["who"]).fill("A. Tester")
            at.get_by_role("button", name=TEXTS["consent"]["yes"]).click()
            find_faces(at, "a", "man.mp4", every="8")
            find_faces(at, "b", "woman.png", every="1")
            train(at)
            said = convert(at, root)
            play(at)
            with capsys.disabled():
                print(f"\nanother look at a frame: {said}")
            page.check()


def find_faces(at, side: str, name: str, *, every: str) -> None:
    text = TEXTS["footage"]
    panel = at.locator(f'section[aria-labelledby="side-{side}"]')
    panel.get_by_role("button", name=text["add"].format(side=side.upper())).click()
    at.locator("dialog").get_by_text(name).click()
    panel.locator("summary", has_text=text["part"]).click()
    panel.get_by_label(text["every"]).fill(every)
    panel.get_by_role("button", name=text["search"]).click()
    panel.get_by_text(text["see"]).wait_for(timeout=LONG)


def train(at) -> None:
    text = TEXTS["train"]
    at.get_by_role("link", name=text["title"]).click()
    at.get_by_label(text["preset"], exact=True).select_option("lite")
    at.get_by_label(text["minutes"], exact=True).fill("0.2")
    at.get_by_role("button", name=text["start"]).click()
    at.get_by_text(f"Training: {TEXTS['jobs']['state']['running']}").first.wait_for()
    at.reload()  # in the middle of it
    at.get_by_text(f"Training: {TEXTS['jobs']['state']['running']}").first.wait_for()
    at.get_by_text(f"Training: {TEXTS['jobs']['state']['done']}").first.wait_for(
        timeout=LONG
    )
    at.locator("canvas").first.wait_for()


def convert(at, root) -> str:
    """Swaps a frame, then a part; gives what the page says of another look."""
    text = TEXTS["convert"]
    at.get_by_role("link", name=text["title"]).click()
    at.get_by_text("1 face swapped").wait_for(timeout=LONG)
    with at.expect_response("**/api/swap"):
        at.get_by_label(text["look"]["mask"], exact=True).select_option("hull")
    at.wait_for_timeout(500)
    said = at.locator(".stage [role=status]").inner_text()
    at.locator("summary", has_text=TEXTS["footage"]["part"]).click()
    at.get_by_label(TEXTS["footage"]["start"], exact=True).fill("0:01")
    at.get_by_label(TEXTS["footage"]["end"], exact=True).fill("1.5")
    at.get_by_role("button", name=text["start"]).click()
    at.get_by_text(f"Swapping: {TEXTS['jobs']['state']['done']}").first.wait_for(
        timeout=LONG
    )
    (result,) = (root / "whole way" / "results").glob("*.mp4")
    assert result.name == "man swapped.mp4"
    return said


def play(at) -> None:
    at.get_by_role("link", name=TEXTS["results"]["title"]).click()
    at.get_by_role("link", name=TEXTS["results"]["download"]).wait_for()
    at.wait_for_function(
        "document.querySelectorAll('video').length == 2 &&"
        "document.querySelectorAll('video')[1].readyState >= 2"
    )
    at.get_by_role("button", name=TEXTS["player"]["play"], exact=True).click()
    at.wait_for_function("document.querySelectorAll('video')[1].currentTime > 0.2")
    at.get_by_role("button", name=TEXTS["player"]["next"]).click()
    times = "[...document.querySelectorAll('video')].map((v) => v.currentTime)"
    source, result = at.evaluate(times)
    assert abs(source - result - 1) < 0.05  # in step, from where the part begins
    at.get_by_text(TEXTS["results"]["keep"]).wait_for()
