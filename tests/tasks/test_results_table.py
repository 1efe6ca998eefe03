import json
import re
from pathlib import Path

import pytest

from codistill.tasks.results_table import results_table

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
INTERVAL = re.compile(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]")


def metrics(path: Path, encoder: str, miou: float, task: str = "segmentation") -> Path:
    score = {"mean": miou, "low": miou - 1, "high": miou + 1, "count": 7}
    content = {
        "task": task,
        "split": "test",
        "images": 7,
        "encoder": {"encoder": encoder, "projector": None},
        "fit": {"protocol": "cached", "steps": 500, "chosen_lr": 0.001},
        "scores": {"miou": score, "pixel_accuracy": score},
    }
    path.write_text(json.dumps(content))
    return path


def test_a_table_has_a_row_per_file_with_its_interval(tmp_path):
    paths = [metrics(tmp_path / "a.json", "dino", 30.04), metrics(tmp_path / "b.json", "random", 5.0)]
    lines = results_table(paths).splitlines()
    assert lines[0] == "| encoder | mIoU (%) | pixel accuracy (%) | fit |"
    assert lines[2] == "| `dino` | 30.0 [29.0, 31.0] | 30.0 [29.0, 31.0] | cached, 500 steps, lr 0.001 |"
    assert lines[3].startswith("| `random` | 5.000 [4.000, 6.000] |") and lines[-1].startswith(
        "7 test images"
    )


def test_different_tasks_share_no_table(tmp_path):
    paths = [metrics(tmp_path / "a.json", "a", 1.0), metrics(tmp_path / "b.json", "b", 1.0, task="depth")]
    with pytest.raises(ValueError, match="one task"):
        results_table(paths)


def test_people_show_detection_and_body_error_and_a_dash_where_nobody_was_matched(tmp_path):
    rows = []
    for name, error in (("a", 180.04), ("b", None)):
        scores = {"f1": {"mean": 76.0, "low": 74.5, "high": 77.4}, "recall": {"mean": 1, "low": 0, "high": 2}}
        if error is not None:
            scores["pa_pve"] = {"mean": error, "low": 175.0, "high": 185.0}
        content = {"task": "people", "split": "test", "images": 650, "encoder": {"encoder": name}}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content | {"scores": scores, "fit": {"protocol": "small", "steps": 9}}))
        rows.append(path)
    lines = results_table(rows).splitlines()
    assert lines[0] == "| encoder | F1 (%) | PA-PVE (mm) | fit |"
    assert lines[2] == "| `a` | 76.0 [74.5, 77.4] | 180.0 [175.0, 185.0] | small, 9 steps |"
    assert lines[3] == "| `b` | 76.0 [74.5, 77.4] | – | small, 9 steps |"


def test_two_view_methods_say_what_they_are(tmp_path):
    fit = {"recipe": "small", "steps": 600}
    methods = [
        {"baseline": "sift"},
        {"encoder": "dino", "fit": fit},
        {"model": "mast3r.pth", "encoder": "mast3r"},
    ]
    paths = []
    for number, method in enumerate(methods):
        names = ("vcre_precision_90", "vcre_auc_90", "median_vcre")
        scores = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in names}
        content = {"task": "relocalization", "split": "test", "images": 528, "method": method}
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(content | {"scores": scores}))
    lines = results_table(paths).splitlines()
    assert lines[0] == "| encoder | precision, 90 px | AUC, 90 px | median VCRE (px) | fit |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| `sift`", "| `dino`", "| `mast3r.pth`"]
    assert [line.split(" | ")[-1] for line in lines[2:5]] == ["none |", "small, 600 steps |", "released |"]
    assert lines[-1] == "528 test pairs; 95 % bootstrap intervals over pairs."


def intervals_in(value) -> list[tuple[float, float, float]]:
    """Every mean with low and high in a metrics file."""
    if isinstance(value, list):
        return [found for item in value for found in intervals_in(item)]
    if not isinstance(value, dict):
        return []
    numbers = tuple(value.get(key) for key in ("mean", "low", "high"))
    own = [numbers] if all(isinstance(number, (int, float)) for number in numbers) else []
    return own + [found for item in value.values() for found in intervals_in(item)]


def test_every_interval_in_the_documentation_is_in_a_metrics_file():
    """`76.0 [74.5, 77.4]` is a score of docs/metrics/*.json, rounded as shown (shares may be shown in per cent)."""
    files = sorted((DOCS / "metrics").glob("*.json"))
    measured = [found for path in files for found in intervals_in(json.loads(path.read_text()))]
    assert len(measured) > 100

    def same(shown: tuple[str, ...], values: tuple[float, ...]) -> bool:
        steps = [10.0 ** -len(text.partition(".")[2]) for text in shown]
        return any(
            all(
                abs(scale * value - float(text)) <= 0.5 * step + 1e-6
                for text, value, step in zip(shown, values, steps, strict=True)
            )
            for scale in (1, 100)
        )

    unknown = [
        f"{path.name}: {match.group()}"
        for path in sorted(DOCS.glob("*.md"))
        for match in INTERVAL.finditer(path.read_text(encoding="utf-8"))
        if not any(same(match.groups(), values) for values in measured)
    ]
    assert unknown == []
