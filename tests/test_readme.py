"""README's links: within a checkout every one leads to a file, and on a package index none leads nowhere."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\(([^)]+)\)", README)


def test_links_of_the_checkout_lead_to_files() -> None:
    local = [link for link in LINKS if not link.startswith(("http", "#"))]
    assert len(local) > 10
    for link in local:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, link


def test_the_description_for_package_indexes_has_no_link_into_the_checkout() -> None:
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    pytest.importorskip("setuptools")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.portable(README)
    left = re.findall(r"\]\(([^)]+)\)", text)
    assert left and all(link.startswith("http") for link in left)
    assert "evaluation (`docs/evaluation.md`)" in text and "![" not in text
    assert module.portable("[a](https://x.org) [b.md](b.md) ![p](p.png)\n[c](d.md#e)") == (
        "[a](https://x.org) `b.md` c (`d.md`)"
    )
