"""`codistill study tables DIR`: Markdown, LaTeX, HTML and a metrics file of the finished cells."""

import re
from pathlib import Path

from codistill.files.writing import make_directory, remove_quietly, write_atomic
from codistill.study.render import latex, markdown, page
from codistill.study.results import open_results
from codistill.study.tables import plain_numbers, study_grids
from codistill.tasks.evaluation import METRICS
from codistill.tasks.shared.record import write_metrics

PAGE = "tables.html"
_TABLE = re.compile(r'<h2 id="([A-Za-z0-9._+-]+)">')


def write_study_tables(folder: Path, out: Path | None, command: list[str]) -> int:
    """Write DIR/tables: tables.md, tables.html, NAME.tex of each, and metrics.json; print the Markdown."""
    results = open_results(folder)
    grids, out = study_grids(results), out or results.folder.tables
    make_directory(out)
    for name in _written(out / PAGE) - {grid.name for grid in grids}:  # renamed or removed since
        remove_quietly(out / f"{name}.tex")
    text = markdown(grids)
    write_atomic(out / "tables.md", text)
    write_atomic(out / PAGE, page(results.study.name, results.study.about, grids))
    for grid in grids:
        write_atomic(out / f"{grid.name}.tex", latex(grid))
    write_metrics(out / METRICS, plain_numbers(results), command)
    print(text)
    print(
        f"wrote {out}: tables.md, tables.html, {METRICS}, {', '.join(f'{grid.name}.tex' for grid in grids)}"
    )
    return 0


def _written(page: Path) -> set[str]:
    """Names of the tables on a page that was written before."""
    return set(_TABLE.findall(page.read_text(encoding="utf-8"))) if page.is_file() else set()
