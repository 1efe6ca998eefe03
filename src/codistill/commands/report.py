"""`codistill report RUN | HEAD…`: one self-contained HTML page: recipe, curves, held-out losses, figures, examples."""

import io
import json
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl

from codistill.analysis.curves import loss_figure
from codistill.analysis.log import RunLogSeries, read_series
from codistill.analysis.page import Page
from codistill.commands.analyze import analyze_run
from codistill.commands.inspect_head import is_fit_folder
from codistill.commands.parsers.report import parse
from codistill.commands.pca import main as pca
from codistill.commands.report_heads import has_log, report_heads
from codistill.data import open_source
from codistill.errors import ConfigError, DataError
from codistill.files.json_files import read_json
from codistill.files.listing import IMAGE_SUFFIXES
from codistill.files.writing import check_writable, write_atomic
from codistill.imaging.pictures import check_picture
from codistill.recipes.places import read_run_recipe
from codistill.recipes.recipe import Recipe
from codistill.recipes.sources_record import recorded_changes
from codistill.tasks.results_table import shown_score

EXAMPLES_PER_SOURCE = 2


def _last_validation(validation: RunLogSeries, page: Page) -> None:
    last = {name: float(values[-1]) for name, values in validation.values.items()}
    rows = [name.removesuffix("/loss") for name in last if name.endswith("/loss")]
    measures = dict.fromkeys(
        name.removeprefix(f"{row}/") for row in rows for name in last if name.startswith(f"{row}/")
    )
    nan, cells = float("nan"), []
    for row in rows:
        source, _, teacher = row.partition("/")
        numbers = (last.get(f"{row}/{measure}", nan) for measure in measures)
        cells.append((source, teacher, int(last[f"{source}/images"]), *numbers))
    page.heading(f"Held-out images after step {int(validation.steps[-1])}")
    shown = (measure.replace("/", ": ").replace("_", " ") for measure in measures)
    page.table(("source", "teacher", "images", *shown), cells)


def _examples(recipe: Recipe, run: Path, folder: Path) -> Path | None:
    """Draw features of the first teacher and the student on a few held-out images."""
    paths = []
    for config in recipe.held_out_sources:
        source = open_source(config)
        for index in range(min(EXAMPLES_PER_SOURCE, len(source))):
            suffix = Path(source.name_of(index)).suffix
            path = folder / f"{config.name}-{index}{suffix if suffix.lower() in IMAGE_SUFFIXES else '.jpg'}"
            path.write_bytes(source.read(index))
            paths.append(str(path))
    if not paths:
        return None
    teacher = recipe.teachers[0].encoder or recipe.teachers[0].name
    size = ["--size", str(2 * recipe.image_size)]
    with redirect_stdout(io.StringIO()):  # it prints the path of the picture, which is put into the page
        pca(
            [
                *paths,
                "--encoder",
                teacher,
                "--encoder",
                str(run),
                *size,
                "--out",
                str(folder / "features.png"),
            ]
        )
    return folder / "features.png"


def _metrics_tables(run: Path, page: Page) -> None:
    """Add tables of the run's metrics files of the form `methods → source → interval`."""
    for path in sorted(run.glob("*.json")):
        try:
            numbers: Any = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        if not isinstance(numbers, dict) or not numbers.get("methods"):
            continue
        page.heading(f"Evaluation: {numbers.get('task', path.stem)}")
        steps = {name: step for name, step in numbers.get("steps", {}).items() if step is not None}
        after = ", ".join(f"{name} after step {step}" for name, step in steps.items())
        page.text("; ".join(filter(None, (numbers.get("metric"), numbers.get("interval"), after))))
        sources = dict.fromkeys(source for by_source in numbers["methods"].values() for source in by_source)
        rows = [
            (name, *(shown_score(by_source.get(source)) for source in sources))
            for name, by_source in numbers["methods"].items()
        ]
        page.table(("method", *sources), rows)


def build_report(run: Path, out: Path, command: list[str]) -> None:
    """Write the page of a run."""
    mpl.use("Agg")
    recipe = read_run_recipe(run)
    series = read_series(run / "metrics.jsonl")
    validation_path = run / "validation.jsonl"
    validation = read_series(validation_path) if validation_path.is_file() else None
    described = read_json(run / "describe.json") if (run / "describe.json").is_file() else {}
    page = Page(title=f"{run.name}: {recipe.name}", lead=recipe.about)
    done = int(series.steps[-1]) + 1
    page.text(
        f"{done:,} of {recipe.total_steps:,} steps of {recipe.loader.batch_size} images at {recipe.image_size} px; "
        f"last loss {series.values['loss'][-1]:.4f}; {described.get('licence', '')}"
    )
    for text in recorded_changes(run):
        page.text(f"Since the run was last trained, resumed at {text}")
    fields = ("name", "encoder", "domain", "dim", "patch_size", "licence")
    teachers = [[teacher.get(name, "") for name in fields] for teacher in described.get("teachers", ())]
    page.heading("Teachers")
    page.table(("teacher", "encoder", "domain", "width", "patch", "licence"), teachers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        page.heading("Losses")
        loss_figure(series, validation).savefig(folder / "curves.png", dpi=130)
        dots = "" if validation is None else " and held out (dots)"
        page.picture(folder / "curves.png", f"Loss per teacher: training (smoothed){dots}")
        if validation is not None:
            _last_validation(validation, page)
        _metrics_tables(run, page)
        page.heading("Analysis")
        analyze_run(run, folder / "analysis", command)
        captions = {
            "explained_variance.png": "Cumulative explained variance: teachers solid, projections dashed",
            "loss_correlation.png": "How teachers' losses move together from update to update",
        }
        for name, caption in captions.items():
            if (folder / "analysis" / name).exists():
                page.picture(folder / "analysis" / name, caption)
        if (features := _examples(recipe, run, folder)) is not None:
            page.heading("Features of held-out images")
            page.picture(features, "First three principal components: the first teacher, then the student")
    page.folded("The whole recipe", (run / "config.yaml").read_text())
    write_atomic(out, page.render())


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    runs: list[Path] = arguments.run
    out = arguments.out or runs[0] / "report.html"
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file")
    if arguments.out is not None or runs[0].is_dir():
        check_writable(out.parent)
    if all(is_fit_folder(run) for run in runs):
        if arguments.curves and not any(has_log(run) for run in runs):
            raise ConfigError("--curves would have no effect: none of these heads was fitted in logged steps")
        curves = arguments.curves or out.with_name("curves.png")
        check_picture(curves)
        check_writable(curves.parent)
        report_heads(runs, out, curves)
    elif len(runs) > 1 or arguments.curves:
        strangers = ", ".join(str(run) for run in runs if not is_fit_folder(run))
        raise ConfigError(
            f"several folders (or --curves) are for heads of `codistill fit`; {strangers}: is none"
        )
    else:
        build_report(runs[0], out, ["report", *argv])
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0
