"""Tables of finished cells: scores and paired differences recomputed by hand, in three languages."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codistill.errors import CheckpointError, DataError
from codistill.files.config import save_yaml
from codistill.files.plain import from_plain
from codistill.metrics.interval import resample_mean
from codistill.metrics.seeds import over_seeds
from codistill.recipes.contents import content_of
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder
from codistill.study.progress import progress_of
from codistill.study.render import latex, markdown, page
from codistill.study.results import open_results
from codistill.study.tables import Entry, Grid, plain_numbers, study_grids
from codistill.tasks.registry import TASKS, find_task

IMAGES = 24
GROUPS = [f"scene {image // 2}" for image in range(IMAGES)]
STUDY: dict[str, Any] = {
    "name": "toy & co",
    "about": "a <toy>",
    "seeds": [0, 1, 2],
    "rows": {
        "ours": {"about": "ours_1 (50 %)", "recipe": "debug"},
        "theirs": {"recipe": "debug"},
        "known": {"encoder": "dinov2_vits14"},
    },
    "evaluations": {"depth": {"task": "depth", "options": {"data": "world:w"}}},
    "comparisons": [{"row": "ours", "against": ["theirs", "known"], "margin": {"depth.rmse": 5.0}}],
    "tables": {"main": {"about": "All of it.", "columns": ["depth.rmse", "hours", "flops"]}},
}
RMSE = 5


def scores(row: str, seed: int) -> np.ndarray:
    """(image, measure)."""
    rng = np.random.default_rng([len(row), seed])
    return rng.random((IMAGES, 9)) + {"ours": 1.0, "theirs": 1.6, "known": 1.0}[row]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    found = StudyFolder(tmp_path / "study")
    found.root.mkdir()
    save_yaml(from_plain(StudyConfig, STUDY), found.study)
    for row in STUDY["rows"]:
        for seed in (0, 1, 2):
            put(found, row, seed)
    return found


def put(folder: StudyFolder, row: str, seed: int, names: list[str] | None = None) -> None:
    place = folder.cell(f"{row}/{seed}/depth")
    place.mkdir(parents=True)
    names = names or [f"image {image}" for image in range(IMAGES)]
    np.savez(
        place / "per_image.npz", names=np.array(names), groups=np.array(GROUPS), scores=scores(row, seed)
    )
    (place / "metrics.json").write_text(json.dumps({"data": "world:w", "split": "test"}))
    put_record(folder, f"{row}/{seed}/depth")
    if row != "known":
        folder.cell(f"{row}/{seed}/train").mkdir(parents=True)
        recipe = {"student": {}, "teachers": []}
        more = {"seconds": 1800.0 * (seed + 1), "flops": 2e15, "config": {"recipe": recipe}}
        put_record(folder, f"{row}/{seed}/train", **more)


def put_record(folder: StudyFolder, name: str, **more: Any) -> None:
    record = {
        "format": "codistill-study-cell",
        "seconds": 90.0,
        "attempts": 1,
        "machine": "a box",
        "config": {},
        "contents": {},
    }
    (folder.cell(name) / "cell.json").write_text(json.dumps({**record, **more}))


def test_scores_and_differences_are_those_of_the_samples(folder: StudyFolder) -> None:
    results = open_results(folder.root)
    found = results.score("ours", "depth", "rmse")
    expected = over_seeds([resample_mean(scores("ours", seed)[:, RMSE], GROUPS) for seed in range(3)])
    assert found == expected and found is not None and found.groups == IMAGES // 2
    paired = results.differences(results.study.comparisons[0])[:2]
    differences = [scores("ours", seed)[:, RMSE] - scores("theirs", seed)[:, RMSE] for seed in range(3)]
    assert paired[0].score in ("rmse", "a1")
    by_name = {(one.against, one.score): one for one in results.differences(results.study.comparisons[0])}
    rmse = by_name["theirs", "rmse"]
    assert rmse.found == over_seeds([resample_mean(one, GROUPS) for one in differences])
    assert rmse.verdict == "better" and rmse.equal is True  # lower is better; within ± 5
    known = by_name["known", "rmse"]  # its heads have seeds, too
    assert len(known.found.values) == 3 and known.verdict == "not apart"


def test_seeds_that_are_not_finished_are_not_paired(folder: StudyFolder) -> None:
    for seed in (1, 2):
        (folder.cell(f"ours/{seed}/depth") / "cell.json").unlink()
    results = open_results(folder.root)
    found = {
        one.against: one.found
        for one in results.differences(results.study.comparisons[0])
        if one.score == "rmse"
    }
    alone = scores("ours", 0)[:, RMSE] - scores("theirs", 0)[:, RMSE]
    assert found["theirs"] == over_seeds([resample_mean(alone, GROUPS)])
    assert len(found["known"].values) == 1


@pytest.mark.parametrize("metrics", [{}, {"data": "world:w"}, {"data": None, "split": "test"}])
def test_metrics_of_no_evaluation_are_named(folder: StudyFolder, metrics: dict[str, Any]) -> None:
    path = folder.cell("ours/1/depth") / "metrics.json"
    path.write_text(json.dumps(metrics))
    with pytest.raises(DataError, match=rf"{path}: has no (data|split), so it is no record of an evaluation"):
        open_results(folder.root).finished("ours", 1, "depth")


def test_what_is_scored_once_stands_against_every_seed(folder: StudyFolder) -> None:
    evaluations = {"depth": {"task": "correspondence", "options": {"data": "world:w"}}}  # nothing is fitted
    for seed in (1, 2):
        (folder.cell(f"known/{seed}/depth") / "cell.json").unlink()
    results = replace(
        open_results(folder.root), study=from_plain(StudyConfig, {**STUDY, "evaluations": evaluations})
    )
    assert len(results._pairs("ours", "known", "depth")) == 3
    assert len(results._pairs("ours", "theirs", "depth")) == 3


def test_different_samples_are_not_compared(folder: StudyFolder) -> None:
    place = folder.cell("known/0/depth")
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    put(folder, "known", 0, [f"other {image}" for image in range(IMAGES)])
    results = open_results(folder.root)
    with pytest.raises(
        DataError, match=r"seeds 0 and 1 of known were scored on different samples: .* 24 \(other 0"
    ):
        results.differences(results.study.comparisons[0])
    with pytest.raises(DataError, match=r"different samples: .* the second 24 \(image 0, …\) that the first"):
        results.score("known", "depth", "rmse")
    lone = replace(results.study, seeds=(0,))
    results = replace(results, study=lone, _read={}, _scores={}, _columns={})
    with pytest.raises(DataError, match="ours and known were scored on different samples"):
        results.differences(results.study.comparisons[0])


def test_rows_that_were_asked_for_other_data_are_not_compared(folder: StudyFolder) -> None:
    """Names of samples are the same in every world."""
    rows = {**STUDY["rows"], "theirs": {"recipe": "debug", "options": {"depth": {"data": "world:other"}}}}
    results = replace(open_results(folder.root), study=from_plain(StudyConfig, {**STUDY, "rows": rows}))
    with pytest.raises(DataError, match=r"ours and theirs are scored on different samples.*world:other"):
        results.differences(results.study.comparisons[0])


def test_the_data_of_a_row_that_is_taken_over_count(folder: StudyFolder) -> None:
    other = {"recipe": "debug", "options": {"depth": {"data": "world:other"}}}
    rows = {"ours": {"like": "base"}, "base": other, "theirs": {"like": "base"}, "known": {"recipe": "debug"}}
    results = replace(open_results(folder.root), study=from_plain(StudyConfig, {**STUDY, "rows": rows}))
    assert len(results._pairs("ours", "theirs", "depth")) == 3
    with pytest.raises(DataError, match=r"ours and known are scored on different samples.*world:other"):
        results._pairs("ours", "known", "depth")


def test_heads_on_a_known_encoder_lack_seeds_too(folder: StudyFolder) -> None:
    for seed in (1, 2):
        (folder.cell(f"known/{seed}/depth") / "cell.json").unlink()
    text = markdown(study_grids(open_results(folder.root)))
    known = next(line for line in text.splitlines() if line.startswith("| known"))
    assert known.startswith("| known 1 of 3 seeds |") and known.count("seeds") == 1


def test_seeds_that_only_one_score_lacks_are_said_there(folder: StudyFolder) -> None:
    results = open_results(folder.root)
    evaluations = {**STUDY["evaluations"], "again": STUDY["evaluations"]["depth"]}
    for row in ("ours", "theirs"):
        for seed in range(2):
            shutil.copytree(folder.cell(f"{row}/{seed}/depth"), folder.cell(f"{row}/{seed}/again"))
    tables = {"main": {"columns": ["depth.rmse", "again.rmse"]}}
    study = from_plain(StudyConfig, {**STUDY, "evaluations": evaluations, "tables": tables})
    text = markdown(study_grids(replace(results, study=study)))
    theirs = next(line for line in text.splitlines() if line.startswith("| theirs"))
    assert theirs.startswith("| theirs |") and theirs.count("2 of 3 seeds") == 1


@pytest.mark.parametrize("said", [{"recipe": "debug"}, {"like": "theirs"}])
def test_scores_of_a_student_that_was_trained_anew_are_left_out(
    folder: StudyFolder, said: dict[str, str]
) -> None:
    rows = {**STUDY["rows"], "ours": said}
    save_yaml(from_plain(StudyConfig, {**STUDY, "rows": rows}), folder.study)
    export = folder.work("ours/0/train") / "export"
    export.mkdir(parents=True)
    (export / "encoder.safetensors").write_bytes(b"the student")
    cell = folder.cell("ours/0/depth") / "cell.json"
    record = json.loads(cell.read_text())
    for content, kept in ((content_of(str(export)), True), ("of an earlier student", False)):
        cell.write_text(json.dumps({**record, "contents": {"encoder": content}}))
        results = open_results(folder.root)
        assert (results.finished("ours", 0, "depth") is not None) == kept
        notes = [note for grid in study_grids(results) for note in grid.notes if "trained anew" in note]
        assert len(notes) == (0 if kept else 1) and all("ours/0/depth" in note for note in notes)


def test_what_is_missing_is_said(folder: StudyFolder) -> None:
    (folder.cell("theirs/2/depth") / "cell.json").unlink()
    for seed in range(3):
        (folder.cell(f"ours/{seed}/depth") / "cell.json").unlink()
    text = markdown(study_grids(open_results(folder.root)))
    theirs = next(line for line in text.splitlines() if line.startswith("| theirs"))
    assert "2 of 3 seeds" in theirs
    ours = next(line for line in text.splitlines() if line.startswith("| ours_1"))
    assert ours.split("|")[2].strip() == "–"
    with pytest.raises(CheckpointError, match="no study's folder"):
        open_results(folder.root / "cells")


def test_unknown_columns_are_refused(folder: StudyFolder) -> None:
    tables = {"main": {"columns": ["depth.rmze"]}}
    save_yaml(from_plain(StudyConfig, {**STUDY, "tables": tables}), folder.study)
    with pytest.raises(DataError, match="Did you mean 'rmse'"):
        study_grids(open_results(folder.root))


def test_scores_that_follow_from_data_have_columns_once_a_cell_is_finished(folder: StudyFolder) -> None:
    more = {
        "evaluations": {**STUDY["evaluations"], "near": {"task": "knn", "options": {"data": "world:w"}}},
        "tables": {"main": {"columns": ["depth.rmse", "near.k=20 top-1", "near"]}},
    }
    save_yaml(from_plain(StudyConfig, {**STUDY, **more}), folder.study)

    def header() -> tuple[str, ...]:
        return study_grids(open_results(folder.root))[0].header

    assert len(header()) == 2
    place = folder.cell("ours/0/near")
    place.mkdir(parents=True)
    hits = {"label": np.zeros(3), "k=20": np.array([[1.0], [0.0], [1.0]])}
    np.savez(
        place / "per_image.npz", names=np.array(["a", "b", "c"]), groups=np.array(["a", "b", "c"]), **hits
    )
    for name in ("metrics.json", "cell.json"):
        (place / name).write_text((folder.cell("ours/0/depth") / name).read_text())
    assert header()[2:] == ("near: k=20 top-1 (%) ↑",) * 2
    assert "66.7" in markdown(study_grids(open_results(folder.root)))


def test_rows_whose_options_give_other_scores_stand_in_one_table(folder: StudyFolder) -> None:
    """One neighbour for `ours`, one and five for `theirs`: the first is compared, the second is not."""
    near = {"near": {"task": "knn", "options": {"data": "world:w"}}}
    comparisons = [{"row": "ours", "against": ["theirs"]}]
    more = {"evaluations": near, "comparisons": comparisons, "tables": {"main": {"columns": ["near"]}}}
    save_yaml(from_plain(StudyConfig, {**STUDY, **more, "seeds": [0]}), folder.study)
    names = np.array(["a", "b", "c"])
    hits = {"ours": {"k=1": [1, 0, 1]}, "theirs": {"k=1": [0, 0, 1], "k=5": [0, 1, 1]}}
    for row, found in hits.items():
        place = folder.cell(f"{row}/0/near")
        place.mkdir(parents=True)
        arrays: dict[str, Any] = {n: np.array(v, dtype=float)[:, None] for n, v in found.items()}
        np.savez(place / "per_image.npz", names=names, groups=names, label=np.zeros(3), **arrays)
        for name in ("metrics.json", "cell.json"):
            (place / name).write_text((folder.cell("ours/0/depth") / name).read_text())
    main, differences, _ = study_grids(open_results(folder.root))
    assert main.header[1:] == ("near: k=1 top-1 (%) ↑", "near: k=5 top-1 (%) ↑")
    assert [entry.text for entry in main.rows[0]] == ["ours_1 (50 %)", "66.7", "–"]
    assert [entry.text for entry in main.rows[1]] == ["theirs", "33.3", "66.7"]
    assert [(row[2].text, row[3].text) for row in differences.rows] == [("near: k=1 top-1 (%) ↑", "+33.3")]


def test_markdown_marks_the_best_and_shows_what_it_cost(folder: StudyFolder) -> None:
    results = open_results(folder.root)
    lines = markdown(study_grids(results)).splitlines()
    assert lines[2] == "|  | depth: RMSE (m) ↓ | training (h) | training (operations) |"
    known = results.score("known", "depth", "rmse")
    ours = results.score("ours", "depth", "rmse")
    assert ours is not None and known is not None
    best = "ours_1 (50 %)" if ours.mean < known.mean else "known"
    marked = [line.split("|")[1].strip() for line in lines if "**" in line]
    assert marked == [best]
    assert "| 1.00 | 2 PFLOP |" in next(line for line in lines if line.startswith("| theirs"))


def test_hours_of_trainings_that_read_targets_are_marked(folder: StudyFolder) -> None:
    path = folder.cell("ours/1/train") / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "target_cache": True}))
    text = markdown(study_grids(open_results(folder.root)))
    assert text.count("1.00 (targets cached)") == 1 and "| 1.00 |" in text


def test_the_note_has_the_samples_of_every_row(folder: StudyFolder) -> None:
    place = folder.cell("known/0/depth")
    shutil.rmtree(place)
    put(folder, "known", 0)
    (place / "metrics.json").write_text(json.dumps({"data": "world:other", "split": "val"}))
    note = study_grids(open_results(folder.root))[0].notes[-1]
    assert (
        "depth: 24 samples in 12 groups of world:w (test) or 24 samples in 12 groups of world:other (val)."
        in note
    )


def test_markdown_keeps_names_of_several_lines_in_their_fields() -> None:
    grid = Grid(
        name="g", title="of\ntwo\n", header=("", "a|b"), rows=((Entry("one\ntwo"), Entry("1", "[0, 2]")),)
    )
    assert markdown([grid]).splitlines()[:5] == [
        "### of two",
        "",
        "|  | a\\|b |",
        "|---|---|",
        "| one two | 1 [0, 2] |",
    ]


def test_latex_escapes_and_has_as_many_fields_as_columns(folder: StudyFolder) -> None:
    text = latex(study_grids(open_results(folder.root))[0])
    assert r"ours\_1 (50 \%)" in text and r"$\downarrow$" in text and r"\label{tab:main}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 4 and {line.count(" & ") for line in rows} == {3}
    assert not re.search(r"(?<!\\)[%_#]", text.replace("%\n", ""))


@pytest.mark.parametrize("task", TASKS)
def test_latex_can_set_the_scores_of_every_task(task: str) -> None:
    """Without packages, LaTeX stops at a Greek letter, and sets < and > as other signs outside of formulas."""
    header = tuple(column.title for column in find_task(task).columns.values())
    text = latex(Grid(name="main", title="All", header=header, rows=()))
    assert text.isascii() and not re.search("[<>|]", re.sub(r"\$[^$]*\$", "", text))


def test_the_page_is_whole_and_escaped(folder: StudyFolder) -> None:
    class Tags(HTMLParser):
        depth = 0

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.depth += tag != "meta"

        def handle_endtag(self, tag: str) -> None:
            self.depth -= 1

    results = open_results(folder.root)
    text = page(results.study.name, results.study.about, study_grids(results))
    tags = Tags()
    tags.feed(text)
    assert tags.depth == 0 and "a &lt;toy&gt;" in text and "http" not in text


def test_numbers_are_json_with_every_seed(folder: StudyFolder) -> None:
    numbers = json.loads(json.dumps(plain_numbers(open_results(folder.root)), allow_nan=False))
    assert len(numbers["scores"]["depth"]["ours"]["rmse"]["values"]) == 3
    assert {"p", "verdict", "low", "high"} <= numbers["differences"][0].keys()


def test_progress_is_read_from_the_folder_alone(folder: StudyFolder) -> None:
    (folder.cell("theirs/2/depth") / "cell.json").unlink()
    failure = folder.failure("theirs/2/depth")
    failure.parent.mkdir(parents=True)
    failure.write_text(json.dumps({"said": "no room"}))
    (folder.cell("ours/0/depth") / "cell.json").unlink()
    found = progress_of(open_results(folder.root).study, folder)
    assert found.counts == {"finished": 13, "failed": 1, "left": 1}  # the heads on `known` have seeds too
    assert found.expected == 2 * 90.0 and found.unknown == 0
