"""Notebooks of examples/, run from start to end, with what they show kept: `python tools/run_examples.py [NAME…]`.

Each runs in an empty folder, with this checkout's code, and is written only if every cell ran.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).parents[1]
SECONDS = 3600
"""That a cell may take: the first use of a body model, or a busy machine."""


def run(path: Path) -> None:
    """Run a notebook and keep its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        nbclient.NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources=place, coalesce_streams=True
        ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of this run
    nbformat.write(notebook, path)
    print(f"ran {path.name} ({path.stat().st_size // 1000} kB)")


def main(names: list[str]) -> None:
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {path.stem: path for path in sorted((ROOT / "examples").glob("*.ipynb"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no notebook is called {', '.join(unknown)}; there are: {', '.join(known)}")
    for name in names or known:
        run(known[name])


if __name__ == "__main__":
    main(sys.argv[1:])
