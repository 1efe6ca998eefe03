"""The documentation builds as a site without warnings; what is made from the code is in it; it needs no network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codistill.cli import COMMANDS
from codistill.encoders.published import PUBLISHED
from codistill.recipes.names import RECIPE_NAMES

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    pytest.importorskip("mkdocstrings", reason="needs the extra `docs`")
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_every_command_recipe_and_known_name_has_its_place(site: Path) -> None:
    for name in COMMANDS:
        assert f"usage: codistill {name}" in text(site, f"commands/{name}.html")
    assert all(name in text(site, "recipes.html") for name in RECIPE_NAMES)
    assert all(name in text(site, "known-weights.html") for name in PUBLISHED)


def test_the_api_has_docstrings(site: Path) -> None:
    page = text(site, "api/encoders.html")
    assert 'id="codistill.encoders.load.load_encoder"' in page and "MissingExtraError" in page
    assert 'id="codistill.types.Tokens.feature_map"' in page


def test_every_page_is_in_the_navigation(site: Path) -> None:
    front = text(site, "index.html")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page = path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{page}"' in front, page


def test_pages_are_whole_without_a_network_or_a_server(site: Path) -> None:
    """Nothing is fetched to show a page, links lead to files, and the search index is a script that a page can read."""
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        fetched = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?://[^"]+)"', page
        )
        assert not fetched, (path.name, fetched)
        if path.name == "404.html":
            continue
        for link in re.findall(r'href="([^":#?]+)["#?]', page):
            assert (path.parent / link).exists(), (path.name, link)
    assert (site / "search" / "search_index.js").is_file()


def test_search_finds_pages_that_are_opened_as_files(site: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", "--dump-dom"]
    page = f"file://{site}/index.html?q=relocalization"
    done = subprocess.run([browser, *options, page], capture_output=True, text=True, check=True, timeout=300)
    found = re.search(r'md-search-result__meta">\s*(\d+) matching', done.stdout)
    assert found is not None and int(found[1]) > 3
