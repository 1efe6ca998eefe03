"""`analyze` and `report` on a short run: numbers, figures, one page that opens in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    options = ["--engine.total-steps", "6", "--engine.validate-every", "3"]
    assert main(["distill", "debug", "--out", str(folder), *options]) == 0
    assert main(["evaluate", "distillation", "--encoder", str(folder), "--ridge-steps", "3"]) == 0
    return folder


def test_analysis_has_every_pair_and_teacher(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["analyze", str(run)]) == 0
    numbers = json.loads((run / "analysis" / "analysis.json").read_text())
    assert {(p["first"], p["second"]) for p in numbers["loss_correlation"]} == {
        ("generic", "stereo"),
        ("generic", "people"),
        ("stereo", "people"),
    }
    assert all(pair["updates"] == 5 for pair in numbers["loss_correlation"])
    assert numbers["explained_variance"]["stereo"]["teacher"][-1] == pytest.approx(1)
    assert numbers["provenance"]["command"].startswith("codistill analyze")
    for name in ("loss_correlation.png", "explained_variance.png"):
        assert Image.open(run / "analysis" / name).width > 300
    assert "same direction" in capsys.readouterr().out


def test_page_is_self_contained(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert "Evaluation: distillation" in page
    assert "ridge from pixels and position" in page


def test_page_opens_in_a_browser(run: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    main(["report", str(run)])
    picture = tmp_path / "page.png"
    switches = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    done = subprocess.run(
        [
            chromium,
            *switches,
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=420,3000",
            f"--screenshot={picture}",
            (run / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert picture.exists(), done.stderr[-500:]
    assert "CONSOLE" not in done.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 500  # figures and features are there, not an empty page


def test_not_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path)]) == 2
