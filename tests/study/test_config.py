"""A study's YAML: what is refused before anything runs, rows like others, variables."""

from pathlib import Path
from typing import Any

import pytest

from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.study.config import StudyConfig, merged
from codistill.study.registry import find_study, shipped_studies
from codistill.study.variables import given, refuse_missing, replaced

PLAIN: dict[str, Any] = {
    "name": "toy",
    "rows": {
        "one": {
            "recipe": "debug",
            "set": {"engine": {"total_steps": 3, "seed": 1}, "student.size": "vit_tiny"},
        },
        "two": {"like": "one", "set": {"engine.total_steps": 4}, "options": {"depth": {"fit.steps": 2}}},
        "three": {"like": "two", "options": {"depth": {"limit": 5}}},
    },
    "evaluations": {"depth": {"task": "depth", "options": {"data": "world:w"}}},
}


def study(**changes: Any) -> StudyConfig:
    return from_plain(StudyConfig, {**PLAIN, **changes})


def test_a_row_has_what_the_row_it_is_like_has() -> None:
    row = study().row("three")
    assert row.recipe == "debug"
    assert row.set == {"engine.total_steps": 4, "engine.seed": 1, "student.size": "vit_tiny"}
    assert row.options["depth"] == {"fit.steps": 2, "limit": 5}


def test_own_fields_win_over_whole_sections() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": 4}) == {"d": 3, "a": 4}
    assert merged({"a": 4}, {"a": {"b": 1}}) == {"a.b": 1}
    assert list(merged({"a": [{"b": 1}]}, {"a.0.b": 2}).items()) == [("a", [{"b": 1}]), ("a.0.b", 2)]
    assert merged({"a.0.b": 2}, {"a": [{"b": 1}]}) == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rows": {}}, "no rows"),
        ({"rows": {"a": {}}}, r"rows.a: says neither recipe"),
        ({"rows": {"a": {"like": "b"}, "b": {"like": "a"}}}, "circle: a → b → a"),
        ({"rows": {"a": {"like": "e"}, "e": {"encoder": "x"}}}, "which is an encoder"),
        ({"rows": {"a": {"encoder": "x", "recipe": "debug"}}}, "is not trained"),
        ({"rows": {"a/b": {"recipe": "debug"}}}, "cannot be called so"),
        ({"rows": {"a": {"recipe": "debug", "start": "c"}}}, "Unknown row 'c'"),
        ({"rows": {"a": {"recipe": "debug", "options": {"dept": {}}}}}, "Did you mean 'depth'"),
        ({"evaluations": {"train": {"task": "depth"}}}, "cannot be called so"),
        ({"evaluations": {"depth": {"task": "depth", "rows": ["fuor"]}}}, "Unknown row 'fuor'"),
        ({"comparisons": [{"row": "one", "against": ["tow"]}]}, r"comparisons\[0\]: .*Did you mean 'two'"),
        ({"comparisons": [{"row": "one", "against": []}]}, "must name rows other than 'one'"),
        ({"comparisons": [{"row": "one", "against": ["one"]}]}, "must name rows other than 'one'"),
        (
            {"comparisons": [{"row": "one", "against": ["two"], "margin": {"depth.rmse": -1.0}}]},
            r"margin depth.rmse: -1 must be above 0",
        ),
        ({"tables": {"t": {"columns": ["hours.depth"]}}}, "Unknown column 'hours.depth'"),
        ({"tables": {"comparisons": {}}}, "the table 'comparisons' cannot be called so"),
        ({"tables": {"a/b": {}}}, "the table 'a/b' cannot be called so"),
        (
            {"rows": {"a": {"recipe": "debug", "set": {"b.c": 1, "b": {"c": 2}}}}},
            "rows.a.set.b.c is given twice",
        ),
        ({"evaluations": {"depth": {"task": "depth", "minutes": -1.0}}}, "minutes must be 0 or more"),
        ({"tables": {"t": {"columns": ["dept.rmse"]}}}, "tables.t.columns: .*Did you mean 'depth'"),
        ({"seeds": [1, 1]}, "different whole numbers"),
        ({"seedz": [1]}, "Did you mean 'seeds'"),
    ],
)
def test_mistakes_are_refused(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        study(**changes)


def test_what_has_no_effect_is_refused() -> None:
    """Options for an evaluation that leaves the row out, and comparisons and margins that no evaluation can give."""
    two = {**PLAIN["evaluations"], "more": {"task": "depth", "rows": ["three"]}}

    def compared(**given: Any) -> dict[str, Any]:
        return {"evaluations": two, "comparisons": [{"row": "one", "against": ["two"], **given}]}

    study(**compared(margin={"depth": 0.1}))
    with pytest.raises(
        ConfigError, match=r"comparisons\[0\]: no evaluation has both one and two; asked: more"
    ):
        study(**compared(evaluations=["more"]))
    with pytest.raises(ConfigError, match=r"margin more: 0.1 must be .* of one of its evaluations: depth"):
        study(**compared(evaluations=["depth"], margin={"more": 0.1}))
    own = {"recipe": "debug", "options": {"more": {"limit": 3}}}
    with pytest.raises(ConfigError, match=r"rows.four.options.more has no effect"):
        study(evaluations=two, rows={**PLAIN["rows"], "four": own})
    study(evaluations=two, rows={**PLAIN["rows"], "four": own, "three": {"like": "four"}})


def test_variables_stand_for_texts_and_may_use_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", "/r")
    variables = {"a": "x", "b.c": "${a}/y", "open": ""}
    assert replaced({"k": ["${b.c}", 3, "${ROOT}/${open}"]}, variables) == {
        "k": ["x/y", 3, "${ROOT}/${open}"]
    }
    # A number alone is one; within a text it is not, nor is what only float() takes for one.
    numbers = {"n": "30", "x": "1e-3", "most": "inf"}
    assert replaced({"k": ["${n}", "${x}", "w${n}", "${most}", "30"]}, numbers) == {
        "k": [30, 1e-3, "w30", "inf", "30"]
    }
    with pytest.raises(ConfigError, match=r"k\[0\]: Unknown variable 'bc'.*Did you mean 'b.c'"):
        replaced({"k": ["${bc}"]}, variables)
    with pytest.raises(ConfigError, match="uses itself"):
        replaced("${a}", {"a": "${a}"})
    with pytest.raises(ConfigError, match=r"rows.one needs the variable open: add --set open="):
        refuse_missing({"k": ["${open}"]}, variables, "rows.one")
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        given(["a"], variables)
    with pytest.raises(ConfigError, match="Unknown variable 'd'"):
        given(["d=1"], variables)


def test_a_variable_that_nothing_uses_cannot_be_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nvariables: {root: /r, world: '${root}/w', idle: '${idler}', idler: x}\n"
        "rows: {known: {encoder: e}}\nevaluations: {depth: {task: depth, options: {data: 'world:${world}'}}}\n"
    )
    found = find_study(str(path), ["root=/s"])
    assert found.evaluations["depth"].options["data"] == "world:/s/w"
    for name in ("idle", "idler"):
        with pytest.raises(ConfigError, match=f"--set {name} has no effect"):
            find_study(str(path), ["root=/s", f"{name}=y"])


def test_shipped_studies_are_found_with_their_variables() -> None:
    assert {"methods", "paper", "paper-debug"} <= shipped_studies().keys()
    found = find_study("paper", ["teachers.stereo=T", "worlds=W"])
    assert found.worlds["rooms"].path == "W/rooms"
    assert found.row("share-none").set["teachers"][1]["encoder"] == "T"
    assert found.row("share-none").set["teachers"][2]["encoder"] == "people-tiny"
    short = find_study("methods", ["steps=3", "steps_apart=4", "worlds=W"])
    assert {"knn", "linear", "artefacts"} <= short.evaluations.keys()
    assert short.evaluations["knn"].options["data"] == "world:W/objects"
    assert short.row("baseline").set["engine"]["total_steps"] == 3
    assert short.row("scales-independent").set["engine.total_steps"] == 4
    with pytest.raises(ConfigError, match=r"Unknown study 'papr'.*Did you mean 'paper'"):
        find_study("papr")
