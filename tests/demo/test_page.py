"""The demo's page from values alone: it asks for nothing from outside, and its points are the ones it was given."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from codistill.demo.page import demo_page
from codistill.demo.pictures import Cloud, FeatureSheet, Seen
from codistill.demo.story import Story, Taught
from codistill.metrics.interval import Interval


def _picture(shade: int) -> np.ndarray:
    return np.full((12, 16, 3), shade, np.uint8)


def _story(**changes: object) -> Story:
    rng = np.random.default_rng(0)
    views = {"image": _picture(10), "features": _picture(60), "depth": _picture(200)}
    given: dict[str, object] = {
        "model": "tiny",
        "facts": {
            "encoder": {"name": "tiny", "licence": "Apache-2.0", "parameters": 5_512_345},
            "heads": {"depth": {"licence": "CC0 <data>"}, "two-view": {"licence": ""}},
        },
        "scores": [("depth", "RMSE (m) ↓", "0.51 [0.49, 0.53]", "600 of world:w, test")],
        "seen": [
            Seen("a room", views, {"depth": "1.2 to 5 m <metric>"}, {"encode": 0.031, "depth": 0.004}),
            Seen("a photograph", views, {"depth": "2 m"}, {"encode": 0.03, "depth": 0.004}),
        ],
        "cloud": Cloud(
            rng.normal((0, 0, 4), 1.0, (500, 3)),
            rng.integers(0, 255, (500, 3), np.uint8),
            (_picture(1), _picture(2)),
            "2 cameras",
        ),
        "sheet": FeatureSheet(("image", "teacher", "tiny"), [[_picture(1), _picture(2), _picture(3)]]),
        "teachers": [
            Taught(
                "generic", "generic-tiny", "generic", "Apache-2.0", np.arange(10), np.linspace(1.0, 0.4, 10)
            )
        ],
        "steps": 10,
        "batch": 16,
        "seconds": 42.0,
        "likeness": {"this run": {"generic": Interval(0.412, 0.4, 0.424, 30, 30)}},
        "held_out": 30,
        "commands": [("A world", "codistill world build --out 'a&b'")],
        "took": 150.0,
    }
    return Story(**{**given, **changes})  # type: ignore[arg-type]


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_nothing_is_fetched_from_outside():
    page = demo_page(_story())
    elements = _Elements(page)
    sources = [one.get("src") or "" for tag in ("img", "script") for one in elements.of(tag)]
    assert all(source.startswith("data:image/") for source in sources if source)
    assert not elements.of("link")
    assert not re.search(r"(?:https?:)?//[a-z]", page.replace("http://www.w3.org/2000/svg", ""))


def test_every_view_of_every_picture_is_there_with_what_its_head_says():
    images = [one for one in _Elements(demo_page(_story())).of("img") if "data-view" in one]
    assert [one["data-view"] for one in images] == ["image", "features", "depth"] * 2
    assert [one["data-said"] for one in images if one["data-view"] == "depth"] == [
        "1.2 to 5 m <metric>",
        "2 m",
    ]


def test_the_canvas_holds_the_points_up_to_rounding():
    story = _story()
    assert story.cloud is not None
    (canvas,) = _Elements(demo_page(story)).of("canvas")
    sent = np.frombuffer(base64.b64decode(canvas["data-points"] or ""), "<i2").reshape(-1, 3) / 32767
    colours = np.frombuffer(base64.b64decode(canvas["data-colours"] or ""), np.uint8).reshape(-1, 3)
    centred = story.cloud.points - np.median(story.cloud.points, axis=0)
    reach = 2 * np.quantile(np.abs(centred), 0.95)
    kept = np.abs(centred).max(axis=1) < reach
    np.testing.assert_allclose(sent, centred[kept] / reach, atol=2e-5)
    np.testing.assert_array_equal(colours, story.cloud.colours[kept])


@pytest.mark.parametrize(
    "words", ["0.41 [0.40, 0.42]", "5.5 M", "0.51 [0.49, 0.53]", "codistill world build"]
)
def test_numbers_and_commands_are_on_it(words: str):
    assert words in demo_page(_story())


def test_text_is_escaped():
    page = demo_page(_story())
    assert "CC0 <data>" not in page
    assert "CC0 &lt;data&gt;" in page
    assert "&#x27;a&amp;b&#x27;" in page


def test_without_a_head_for_pairs_there_is_no_canvas():
    assert not _Elements(demo_page(_story(cloud=None))).of("canvas")


def test_a_curve_falls_on_the_page_as_the_loss_does():
    text = demo_page(_story())
    points = re.search(r'<polyline points="([^"]+)"', text)
    assert points
    heights = [float(pair.split(",")[1]) for pair in points[1].split()]
    assert heights == sorted(heights)  # y grows downwards, the loss falls
    assert "loss 1.00" in text
    assert "0.40 after 10 steps" in text
