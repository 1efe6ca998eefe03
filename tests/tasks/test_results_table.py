import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from codistill.tasks.results_table import results_rows

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
INTERVAL = re.compile(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]")


def metrics(encoder: str, miou: float) -> dict[str, Any]:
    score = {"mean": miou, "low": miou - 1, "high": miou + 1, "count": 7}
    return {
        "encoder": {"encoder": encoder, "projector": None},
        "fit": {"protocol": "cached", "steps": 500, "chosen_lr": 0.001},
        "scores": {"miou": score, "pixel_accuracy": score},
    }


def test_a_table_has_a_row_per_file_with_its_interval():
    contents = [metrics("dino", 30.04), metrics("random", 5.0)]
    header, rows = results_rows("segmentation", contents, quote="`")
    assert header == ["encoder", "mIoU (%)", "pixel accuracy (%)", "fit"]
    shown = "30.0 [29.0, 31.0]"
    assert rows[0] == ["`dino`", shown, shown, "cached, 500 steps, lr 0.001"]
    assert rows[1][:2] == ["`random`", "5.000 [4.000, 6.000]"]


def test_people_show_detection_and_body_error_and_a_dash_where_nobody_was_matched():
    contents = []
    for name, error in (("a", 180.04), ("b", None)):
        scores = {"f1": {"mean": 76.0, "low": 74.5, "high": 77.4}, "recall": {"mean": 1, "low": 0, "high": 2}}
        if error is not None:
            scores["pa_pve"] = {"mean": error, "low": 175.0, "high": 185.0}
        fit = {"protocol": "small", "steps": 9}
        contents.append({"encoder": {"encoder": name}, "scores": scores, "fit": fit})
    header, rows = results_rows("people", contents)
    assert header == ["encoder", "F1 (%)", "PA-PVE (mm)", "fit"]
    assert rows == [
        ["a", "76.0 [74.5, 77.4]", "180.0 [175.0, 185.0]", "small, 9 steps"],
        ["b", "76.0 [74.5, 77.4]", "–", "small, 9 steps"],
    ]


def test_two_view_methods_say_what_they_are():
    methods = [
        {"baseline": "sift"},
        {"encoder": "dino", "fit": {"recipe": "small", "steps": 600}},
        {"model": "mast3r.pth", "encoder": "mast3r"},
    ]
    names = ("vcre_precision_90", "vcre_auc_90", "median_vcre")
    scores = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in names}
    contents = [{"method": method, "scores": scores} for method in methods]
    header, rows = results_rows("relocalization", contents)
    assert header == ["encoder", "precision, 90 px", "AUC, 90 px", "median VCRE (px)", "fit"]
    assert [row[0] for row in rows] == ["sift", "dino", "mast3r.pth"]
    assert [row[-1] for row in rows] == ["none", "small, 600 steps", "released"]


def intervals_in(value) -> list[tuple[float, float, float]]:
    """Every mean or correlation with low and high in a metrics file."""
    if isinstance(value, list):
        return [found for item in value for found in intervals_in(item)]
    if not isinstance(value, dict):
        return []
    numbers = (value.get("mean", value.get("correlation")), value.get("low"), value.get("high"))
    own = [numbers] if all(isinstance(number, (int, float)) for number in numbers) else []
    return own + [found for item in value.values() for found in intervals_in(item)]


def test_every_interval_in_the_documentation_is_in_a_metrics_file():
    """`76.0 [74.5, 77.4]` is a score of docs/metrics/*.json, rounded as shown (shares may be shown in per cent)."""
    files = sorted((DOCS / "metrics").glob("*.json"))
    found = np.array([one for path in files for one in intervals_in(json.loads(path.read_text()))])
    assert len(found) > 100
    measured = np.concatenate((found, 100 * found))

    def known(shown: tuple[str, ...]) -> bool:
        steps = [10.0 ** -len(text.partition(".")[2]) for text in shown]
        off = np.abs(measured - [float(text) for text in shown])
        return bool((off <= 0.5 * np.array(steps) + 1e-6).all(axis=1).any())

    unknown = [
        f"{path.name}: {match.group()}"
        for path in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
        for match in INTERVAL.finditer(path.read_text(encoding="utf-8"))
        if not known(match.groups())
    ]
    assert unknown == []
