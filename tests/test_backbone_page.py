"""docs/backbone.md: its Python blocks run, one after the other, in an empty folder."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "backbone.md"


def test_the_pages_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 6
    assert names["logits"].shape == (2, 21, 4, 6) and names["depth"].shape == (2, 1, 56, 84)
    assert names["anomaly"].shape == (4, 6) and torch.isfinite(names["result"].loss)
    assert (tmp_path / "my-student" / "model.safetensors").is_file()
