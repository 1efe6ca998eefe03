"""`analyze` and `report` on a short run: numbers, figures, one page that opens in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.analysis.page import Page
from codistill.cli import main
from codistill.commands.report import _metrics_tables
from codistill.commands.report_heads import limits, read_curves, terms_of
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import EncoderFacts, HeadData, HeadRecord, write_head


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


def test_runs_are_compared_in_one_figure(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("checkpoints", "export", "analysis"))
    out = tmp_path / "out"
    assert main(["analyze", str(run), str(other), "--no-variance", "--out", str(out)]) == 0
    both = json.loads((out / "analysis.json").read_text())["loss_correlation"]
    assert set(both) == {run.name, "other"}
    assert both["other"] == json.loads((out / "other" / "analysis.json").read_text())["loss_correlation"]
    assert (out / "loss_correlation.png").stat().st_size > 5000
    assert not (out / "other" / "explained_variance.png").exists()
    assert main(["analyze", "dinov2_vits14", "--images", "a.jpg", "--no-variance"]) == 2


def test_page_is_self_contained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert (
        said.startswith(f"wrote {run / 'report.html'}") and said.count("wrote") == 1
    )  # of no file that is gone
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert "Evaluation: distillation" in page
    assert f"{run.name} after step 6" in page  # the run may be trained further, and its evaluation stays
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


def test_scores_of_unlike_sources_stand_under_their_own(tmp_path: Path) -> None:
    """One method lacks a source and names the others in another order."""
    score = {name: {"mean": mean, "low": mean, "high": mean} for name, mean in (("a", 0.1), ("b", 0.2))}
    methods = {"first": score, "second": {"c": score["a"], "b": score["b"]}}
    (tmp_path / "scores.json").write_text(json.dumps({"methods": methods}))
    page = Page(title="", lead="")
    _metrics_tables(tmp_path, page)
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in page.render().split("<tr>")[1:]]
    assert [[cell.partition(" ")[0] for cell in row] for row in cells] == [
        ["method", "a", "b", "c"],
        ["first", "0.100", "0.200", "–"],
        ["second", "–", "0.200", "0.100"],
    ]


def test_a_damaged_description_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("checkpoints", "export", "analysis"))
    (other / "describe.json").write_text('{"kind": "stu')
    assert main(["report", str(other)]) == 2
    assert "describe.json: damaged JSON" in capsys.readouterr().err


def _fit(folder: Path, losses: list[float], **more: float) -> Path:
    """What a fit under way leaves: its log."""
    (folder / "run").mkdir(parents=True)
    rows = [{"step": s, "loss": v, "detection": v / 2, "lr": 1e-3, **more} for s, v in enumerate(losses)]
    (folder / "run" / "config.yaml").write_text("class: PeopleFit\n")
    (folder / "run" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_fits_are_reported_side_by_side(tmp_path: Path) -> None:
    heads = [_fit(tmp_path / "one", [3.0, 2.0, 1.0], offset=1.0), _fit(tmp_path / "two", [3.0, 2.5, 2.0])]
    (heads[0] / "run" / "validation.jsonl").write_text('{"step": 1, "loss": 2.2}\n')
    out, curves = tmp_path / "page.html", tmp_path / "curves.png"
    arguments = ["report", *map(str, heads), "--out", str(out), "--curves", str(curves)]
    assert main(arguments) == 0
    assert "one, two" in out.read_text() and "held-out data as dots" in out.read_text()
    assert main(["report", str(heads[1])]) == 0
    assert "dots" not in (heads[1] / "report.html").read_text()
    assert Image.open(curves).width > 300
    (training, held_out), (other, none) = (read_curves(head) for head in heads)
    assert terms_of([training, other]) == ["loss", "detection"]  # `offset` is not in both, `lr` is no loss
    assert held_out is not None
    assert held_out.values["loss"].tolist() == [2.2]
    assert none is None


def test_a_panel_leaves_out_the_first_steps_but_no_held_out_value() -> None:
    line = np.concatenate(([100.0], np.linspace(3.0, 2.0, 39)))
    low, high = limits([line], [])
    assert 1.9 < low < 2.0 and 2.9 < high < 3.1  # 100 is in the first twentieth
    other = np.full(40, 4.0)
    low, high = limits([line, other], [np.array([6.0, np.nan])])
    assert low < 2.0 and 6.0 < high < 7.0


def test_scores_of_heads_stand_in_one_table_and_undefined_ones_are_a_dash(tmp_path: Path) -> None:
    heads = [_fit(tmp_path / name, [2.0, 1.0]) for name in ("one", "two")]
    for head, found in zip(heads, ({"mean": 180.0, "low": 175.0, "high": 185.0}, None), strict=True):
        f1 = {"mean": 76.0, "low": 74.5, "high": 77.4}
        scores = {"f1": f1} | ({} if found is None else {"pa_pve": found})
        numbers = {"task": "people", "split": "test", "images": 650, "data": "world:w", "scores": scores}
        (head / "evaluation").mkdir()
        described = {"encoder": {"encoder": f"E of {head.name}"}, "fit": {"protocol": "small"}}
        (head / "evaluation" / "metrics.json").write_text(json.dumps(numbers | described))
    out = tmp_path / "page.html"
    assert main(["report", *map(str, heads), "--out", str(out), "--curves", str(tmp_path / "c.png")]) == 0
    page = out.read_text()
    assert "Scores: people, 650 images, test" in page
    header = "<th>head</th><th>encoder</th><th>F1 (%)</th><th>PA-PVE (mm)</th><th>fit</th>"
    body = page.partition(header)[2].partition("</table>")[0]
    cells = re.findall("<td[^>]*>(.*?)</td>", body)
    assert cells[:5] == ["one/evaluation", "E of one", "76.0 [74.5, 77.4]", "180.0 [175.0, 185.0]", "small"]
    assert cells[5:] == ["two/evaluation", "E of two", "76.0 [74.5, 77.4]", "–", "small"]


def test_heads_that_were_not_fitted_in_steps_have_scores_and_no_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    record = HeadRecord(
        task="knn",
        features=FeatureConfig(encoder="E"),
        data=HeadData(spec="photos", samples=8),
        encoder=EncoderFacts(name="e", licence="MIT", channels=8, patch_size=14),
        fit={"protocol": "small", "cache_bytes": 75632640},
    )
    write_head(tmp_path / "one", record, {}, [])
    top = {"k=1 top-1": {"mean": 50.0, "low": 12.5, "high": 87.5}}
    numbers = {"task": "knn", "split": "val", "images": 8, "encoder": {"encoder": "E"}, "scores": top}
    (tmp_path / "one" / "evaluation").mkdir()
    (tmp_path / "one" / "evaluation" / "metrics.json").write_text(json.dumps(numbers))
    assert main(["report", str(tmp_path / "one")]) == 0
    page = (tmp_path / "one" / "report.html").read_text()
    assert "50.0 [12.5, 87.5]" in page and "photos" in page and "Losses" not in page
    assert "protocol small, cache of 72.1 MiB<" in page
    assert not (tmp_path / "one" / "curves.png").exists()
    assert main(["report", str(tmp_path / "one"), "--curves", str(tmp_path / "c.png")]) == 2
    assert "--curves would have no effect" in capsys.readouterr().err


def test_places_that_cannot_be_written_are_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codistill.commands.report.report_heads", pytest.fail)
    monkeypatch.setattr("codistill.commands.report.build_report", pytest.fail)
    head, file, page = _fit(tmp_path / "one", [2.0, 1.0]), tmp_path / "file", str(tmp_path / "page.html")
    file.write_text("")
    for argv, complaint in (
        ([str(head), "--out", str(tmp_path)], "is a folder: name a file"),
        ([str(head / "run"), "--out", str(file / "page.html")], f"{file} is a file"),
        ([str(head), "--out", page, "--curves", str(file / "c.png")], f"{file} is a file"),
        ([str(head), "--out", page, "--curves", str(tmp_path / "c.pdf")], "write pictures as .png"),
    ):
        assert main(["report", *argv]) == 2
        assert complaint in capsys.readouterr().err


def test_runs_and_heads_do_not_mix(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    head = _fit(tmp_path / "one", [1.0])
    assert main(["report", str(head), str(run)]) != 0
    assert f"{run}: is none" in capsys.readouterr().err
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copytree(run, outside / "run")  # as `codistill demo` leaves it
    assert main(["report", str(head), str(outside)]) != 0
    assert f"{outside}: is none" in capsys.readouterr().err
    assert main(["report", str(head), str(_fit(tmp_path / "again" / "one", [1.0]))]) != 0
    assert "same folder name" in capsys.readouterr().err
