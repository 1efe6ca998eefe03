"""The pictures of docs/live.md, from a running server: `take_pictures.py URL docs/images [SAMPLE ANSWER]`.

`codistill serve --perception … --warm --seconds 120` gives the URL. One picture of the whole page, one of a phone; of
another sample (its place in the row, from 0) with another answer over it, if these are named.
"""

import io
import sys
import time
from pathlib import Path

from browser import Page, browser_page, chromium_running
from PIL import Image

QUALITY = 84
DESK = {"viewport": {"width": 1360, "height": 860}, "color_scheme": "dark"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "light",
    "is_mobile": True,
    "has_touch": True,
}


def take(page: Page, sample: int, view: str, path: Path, *, whole: bool) -> None:
    """Open the page, choose a sample and an answer, and save what is to be seen."""
    page.page.goto(page.url)
    page.wait_for_looks(1, 300)
    for _ in range(2):  # the first look of a kind is slower than those that follow
        looks = page.looks()
        page.page.click(f".sample >> nth={sample}")
        page.wait_for_looks(looks + 1, 300)
    page.page.click(f"[data-answer={view}] .pick")
    page.page.evaluate("scrollTo(0, 0)")
    time.sleep(1.5)
    picture = Image.open(io.BytesIO(page.page.screenshot(full_page=whole))).convert("RGB")
    picture.save(path, "JPEG", quality=QUALITY, optimize=True)
    print(f"wrote {path} ({path.stat().st_size // 1000} kB)")


def main(url: str, out: str, sample: str = "0", answer: str = "depth") -> None:
    with chromium_running() as browser:
        with browser_page(browser, url, **DESK) as page:
            take(page, int(sample), answer, Path(out) / "live_page.jpg", whole=True)
        with browser_page(browser, url, device_scale_factor=2, **PHONE) as page:
            take(page, 1, "depth", Path(out) / "live_phone.jpg", whole=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
