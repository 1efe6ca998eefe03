"""Notebooks of examples/: each runs from start to end on a small random encoder, and the kept outputs are small."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LARGEST = 150_000
"""Bytes of a notebook with its outputs."""


def test_outputs_are_kept_small_and_without_folders_of_a_machine() -> None:
    assert len(NOTEBOOKS) >= 4
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
    for path in NOTEBOOKS:
        assert path.stat().st_size < LARGEST, path.name
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        text = path.read_text(encoding="utf-8")
        assert "/tmp/" not in text and "site-packages" not in text and str(Path.home()) not in text
        assert any(cell.get("outputs") for cell in notebook.cells), f"{path.name}: run it and save it"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
    pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")
    pytest.importorskip("embreex", reason="needs the extra `world`")
    import nbformat

    monkeypatch.setenv("ENCODER", "random:vit_tiny,depth=3,dim=48,num_heads=2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
