import json
import re
from pathlib import Path

import pytest

from codistill.tasks.results_table import results_table

DOCS = Path(__file__).parents[2] / "docs"
MARK = re.compile(r"<!-- table: ([^>]+?) -->\n(.*?)<!-- end -->", re.DOTALL)


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


def test_the_documentation_shows_what_the_metrics_files_say():
    """Every block `<!-- table: FILE FILE … -->` of the documentation is the table of these files."""
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    blocks = MARK.findall(text)
    for names, shown in blocks:
        assert shown == results_table([DOCS / "evaluation" / name for name in names.split()])
    assert blocks or not (DOCS / "evaluation").is_dir()
