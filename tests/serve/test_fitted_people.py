"""A head for people, fitted here in four steps, on the wire and on the page: its bodies are the scene's own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from browser import browser_page, chromium_running
from live_server import LiveServer

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "people"))

from people_scenes import ENCODER, write_folder

from codistill import Perception
from codistill.cli import main
from codistill.imaging import decode_rgb
from codistill.perception.config import HeadConfig
from codistill.serve.settings import ServeSettings

SURE = {"threshold": 0.0002, "kernel": 1}
"""So unsure is the head that nearly every patch is somebody."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("scenes"), train=8, val=2)


@pytest.fixture(scope="module")
def picture(root: Path) -> bytes:
    return (root / "images" / "0100.png").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[LiveServer]:
    head = tmp_path_factory.mktemp("fitted") / "head"
    fit = ["fit", "people", "--encoder", ENCODER, "--data", f"folder:{root}", "--out", str(head)]
    fit += ["--steps", "4", "--size", "56", "--workers", "0", "--device", "cpu", "--batch-size", "4"]
    assert main(fit) == 0
    heads = {"everybody": HeadConfig(path=str(head), options=SURE)}
    perception = Perception(heads=heads, device="cpu", size=56)
    with LiveServer(perception, ServeSettings(port=0, idle_seconds=600)) as one:
        yield one


def test_bodies_travel_as_the_scene_has_them(server: LiveServer, picture: bytes) -> None:
    people = server.perception(decode_rgb(picture)).people[0]
    assert people
    with server.tab() as tab:
        [head] = tab.hello["perception"]["heads"]
        assert (head["name"], head["kind"]) == ("everybody", "people")
        tab.see(1, [picture], want=["everybody"])
        header, arrays = tab.receive(60)
    found = header["images"][0]["answers"]["everybody"]["people"]
    assert len(found) == len(people) and arrays["faces"].max() < len(people[0].vertices)
    for number, (sent, person) in enumerate(zip(found, people, strict=True)):
        body, values = sent["body"], arrays[f"body/0/{number}"]
        corners = np.asarray(body["low"]) + values * np.asarray(body["step"])
        np.testing.assert_allclose(corners, person.vertices, atol=max(body["step"]))
        np.testing.assert_allclose(sent["joints"], person.joints_2d, atol=0.051)
        assert sent["score"] == pytest.approx(person.score, abs=1e-4)


def test_rest_says_who_is_where(server: LiveServer, picture: bytes) -> None:
    people = server.perception(decode_rgb(picture)).people[0]
    reply = httpx.post(f"{server.url}/v1/see", files={"images": ("a.png", picture)}, timeout=60)
    answer = reply.json()["images"][0]["answers"]["everybody"]
    assert answer["body"]["name"] == "tiny" and len(answer["people"]) == len(people)
    assert answer["people"][0]["distance"] == pytest.approx(people[0].distance, abs=1e-3)


@pytest.mark.slow
def test_the_page_counts_people_and_draws_their_bodies(server: LiveServer, picture: bytes) -> None:
    people = server.perception(decode_rgb(picture)).people[0]
    with chromium_running() as browser, browser_page(browser, server.url) as page:
        page.open()
        looks = page.looks()
        page.page.set_input_files("#file", [{"name": "a.png", "mimeType": "image/png", "buffer": picture}])
        page.wait_for_looks(looks + 1)
        assert page.text("[data-answer=everybody] small").startswith(f"{len(people)} · ")
        page.page.click("[data-answer=everybody] .pick")
        shown = page.colours("#space canvas")
        page.page.click("#show-bodies")
        page.wait(lambda: (page.colours("#space canvas") != shown).any(), "a view without bodies")
        assert not page.problems
