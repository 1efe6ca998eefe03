"""Every task, through the command line as a user types it: fitted, stopped and resumed, scored, compared, used, told.

`conformance_toys.py` has a row for each that is tried. One of them is a task that an installed package adds.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance_toys import TOYS, Toy
from PIL import Image
from safetensors.torch import load_file, save_file
from task_toys import toy_scene

from codistill.cli import main
from codistill.files.config import dump_yaml, load_yaml
from codistill.tasks.classification.fit import bank_file
from codistill.tasks.registry import TASKS, find_task
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Task

COMPUTING = ("--device", "cpu", "--workers", "0")


class KilledError(Exception):
    """In place of a process's end."""


@pytest.fixture(scope="module", autouse=True)
def installed(install: Callable[[str], None]) -> None:
    install("[codistill.tasks]\nbrightness = toy_brightness:TASK\nbroken = no_such_module:TASK\n")


@dataclass
class Tried:
    """A task with its toy, and the head that is scored: fitted without an interruption, by this task or by another."""

    name: str
    task: Task
    toy: Toy
    spec: str
    folder: Path
    head: Path

    def fit(self, out: Path, *more: str) -> int:
        argv = ["fit", self.name, *self.toy.fit[:1], "--encoder", self.toy.encoder, "--data", self.spec]
        return main([*argv, "--out", str(out), *self.toy.fit[1:], *COMPUTING, *more])

    @property
    def subject(self) -> tuple[str, ...]:
        if self.task.fit is not None:
            return ("--head", str(self.head))
        named = ("--head", str(self.head)) if self.task.heads else ("--encoder", self.toy.encoder)
        return (*named, "--data", self.spec)

    def evaluate(self, out: Path, *more: str) -> int:
        argv = ["evaluate", self.name, *self.subject, "--out", str(out), *self.toy.score]
        return main([*argv, *COMPUTING, *more])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Callable[[str], Tried]:
    """Tasks by name; each is fitted once, also where several score its heads."""

    @cache
    def make(name: str) -> Tried:
        task, toy, folder = find_task(name), TOYS[name], tmp_path_factory.mktemp(name)
        head = make(task.heads).head if task.heads else folder / "head"
        made = Tried(name, task, toy, toy.data(folder / "data"), folder, head)
        if task.fit is not None:
            assert made.fit(head) == 0
        return made

    return make


@pytest.fixture(scope="module", params=TOYS)
def tried(request: pytest.FixtureRequest, fitted: Callable[[str], Tried]) -> Tried:
    return fitted(request.param)


def test_every_task_has_a_toy() -> None:
    assert {*TASKS, "brightness"} == set(TOYS)


def stopping(place: str, call: int, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Do something before a call of a function."""
    module, path = place.split(":")
    owner: Any = __import__(module, fromlist=["_"])
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, calls = getattr(owner, name), []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            act()
        return real(*args, **options)

    patch.setattr(owner, name, counted)


def killed() -> None:
    raise KilledError


def test_a_fit_that_was_stopped_ends_as_one_that_was_not(tried: Tried, monkeypatch) -> None:
    if tried.task.fit is None:
        pytest.skip("nothing is fitted")
    toy, out = tried.toy, tried.folder / "stopped"
    if toy.options:
        assert tried.fit(out, *toy.options) == 75
    else:
        assert toy.stop is not None
        with monkeypatch.context() as patch:
            if toy.engine:
                stopping(*toy.stop, lambda: os.kill(os.getpid(), signal.SIGTERM), patch)
                assert tried.fit(out) == 75
            else:
                stopping(*toy.stop, killed, patch)
                with pytest.raises(KilledError):
                    tried.fit(out)
    assert not (out / "head.json").exists()
    assert tried.fit(out) == 0
    for file in tried.head.rglob("*.safetensors"):
        one, other = load_file(file), load_file(out / file.relative_to(tried.head))
        assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one), file
    for file in tried.head.rglob("features.npy"):
        np.testing.assert_array_equal(np.load(file), np.load(out / file.relative_to(tried.head)))


def test_an_evaluation_leaves_numbers_and_is_compared(tried: Tried, capsys) -> None:
    one, other = tried.folder / "one", tried.folder / "other"
    assert tried.evaluate(one, *(("--pictures", "2") if tried.task.shown else ())) == 0
    shown, said = capsys.readouterr()
    layout = tried.task.layouts[tried.spec.partition(":")[0]]
    assert f"scoring the split {layout.scored[0]} ({layout.scored[1]}); --split names another" in said
    found = json.loads((one / "metrics.json").read_text())
    assert found["task"] == tried.name and found["images"] == len(np.load(one / "per_image.npz")["names"])
    assert found["provenance"]["command"].startswith(f"codistill evaluate {tried.name} ")
    first, *_ = found["scores"]
    assert set(found["scores"]) <= set(tried.task.columns) or not tried.task.columns
    assert f"wrote {one}" in shown
    if tried.task.shown:  # pictures of an earlier evaluation do not lie beside other numbers
        assert (one / "pictures.png").exists() and tried.evaluate(one, "--pictures", "0") == 0
        assert not (one / "pictures.png").exists()
        capsys.readouterr()
    split = ("--split", layout.scored[0])
    assert tried.evaluate(other, "--against", str(one), "--margin", "0.001", "--json", *split) == 0
    shown, said = capsys.readouterr()
    assert "scoring the split" not in said
    found = json.loads(shown)
    assert {"task", "scores", "provenance", "test", "encoder"} <= set(found)
    compared = found["comparison"]
    assert compared["score"] == first and compared["difference"]["mean"] == 0.0
    assert compared["equal_within_margin"] is True
    assert tried.evaluate(other, "--against", str(one), "--score", first[:-1] + "x") == 2
    assert f"'{first}'" in capsys.readouterr().err


def test_a_head_that_is_not_finite_is_not_scored(tried: Tried, tmp_path: Path, capsys) -> None:
    tensors = tried.head / "head.safetensors"
    if tried.name == "knn":  # its vectors lie in a file of their own
        shutil.copytree(tried.head, tmp_path / "head")
        bank = bank_file(tmp_path / "head")
        np.save(bank, np.full_like(np.load(bank), np.nan))
        argv = ["evaluate", "knn", "--head", str(tmp_path / "head"), "--out", str(tmp_path / "out")]
        assert main([*argv, *tried.toy.score, *COMPUTING]) == 2
        assert "holds values that are not finite" in capsys.readouterr().err.replace("\n", " ")
        return
    broken = load_file(tensors) if tried.name in TASKS and tried.task.fit is not None else {}
    name = next((name for name, tensor in broken.items() if tensor.is_floating_point()), None)
    if name is None:  # the toy reads its own file
        assert tried.task.fit is None or tried.name == "brightness"
        return
    shutil.copytree(tried.head, tmp_path / "head")
    broken[name] = broken[name].clone()
    broken[name].view(-1)[0] = float("nan")
    save_file(broken, tmp_path / "head" / "head.safetensors")
    argv = ["evaluate", tried.name, "--head", str(tmp_path / "head"), "--out", str(tmp_path / "out")]
    assert main([*argv, *tried.toy.score, *COMPUTING]) == 2
    assert f"{name!r} holds values that are not finite" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_images_of_ones_own_are_predicted_and_bad_ones_passed_over(tried: Tried, capsys) -> None:
    if tried.task.predict is None:
        assert main(["predict", tried.name, "a.png", "--head", "h", "--out", "o"]) == 2
        assert "has no predictions of single images" in capsys.readouterr().err
        return
    Image.fromarray(toy_scene(3)[0]).save(tried.folder / "photo.png")
    (tried.folder / "bad.png").write_bytes(b"no image")
    out = tried.folder / "predicted"
    names = [str(tried.folder / name) for name in ("photo.png", "bad.png")]
    argv = ["predict", tried.name, *names, "--head", str(tried.head), "--out", str(out), "--device", "cpu"]
    assert main([*argv, "--json"]) == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["image"] == names[0] and all(Path(file).is_file() for file in good["files"])
    assert bad["image"] == names[1] and "error" in bad
    assert main([*argv[:3], *argv[4:]]) == 0
    assert f"{out}/photo.{tried.name}." in capsys.readouterr().out
    assert tried.task.predict.writes.startswith(f"DIR/NAME.{tried.name}.")


def test_a_config_is_printed_saved_and_given_again(tried: Tried, capsys) -> None:
    if tried.task.config is None:
        assert main(["fit", tried.name]) == 2
        assert f"nothing is fitted for {tried.name}" in capsys.readouterr().err
        scored = ("--recipe", "small", *tried.subject, "--out", "o")
        assert main(["evaluate", tried.name, *scored]) == 2
        told = capsys.readouterr().err
        assert "--recipe would have no effect" in told and "or fit a head" not in told
        return
    assert tried.fit(tried.folder / "none", "--print-config") == 0
    text, file = capsys.readouterr().out, tried.folder / "config.yaml"
    assert not (tried.folder / "none").exists()
    file.write_text(text)
    config = load_yaml(tried.task.config, file)
    assert config.data == tried.spec and config.features.encoder == tried.toy.encoder
    assert dump_yaml(config) == text
    assert main(["fit", tried.name, "--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == text
    assert main(["fit", tried.name, *tried.toy.fit[:1], "--config", str(file), "--out", "x"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_what_there_is_is_listed_and_slips_are_told(tried: Tried, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit" if tried.task.config else "evaluate", tried.name, "--list"])
    listed = capsys.readouterr().out
    assert end.value.code == 0
    assert all(word in listed for word in (*tried.task.recipes, *tried.task.layouts, tried.task.about))
    with pytest.raises(SystemExit):
        main(["evaluate", "--list"])
    assert tried.name in capsys.readouterr().out
    command = "evaluate" if tried.task.config is None else "fit"
    with pytest.raises(SystemExit) as end:
        main([command, tried.name, "--help"])
    assert end.value.code == 0 and "--encoder" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["evaluate", tried.name, "--help"])
    told = capsys.readouterr().out
    assert ("--recipe" in told) is ("--cache" in told) is ("fitted first" in told) is bool(tried.task.config)
    headed = bool(tried.task.config or tried.task.heads)
    assert ("--head" in told) is ("--model" in told) is ("--other-encoder" in told) is headed
    assert ("--baseline" in told.partition("features:")[0]) is bool(tried.task.baselines)
    if not headed:
        assert main(["evaluate", tried.name, "--head", "h"]) == 2
        assert f"codistill evaluate {tried.name} --encoder E scores it" in capsys.readouterr().err
    assert main([command, tried.name, "--encoderr", "x"]) == 2
    assert "Did you mean --encoder" in capsys.readouterr().err
    assert main([command, tried.name, "--encoder", "e", "--data", "nolayout:x", "--out", "o"]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in tried.task.layouts)
    if tried.task.config is not None:
        assert main(["evaluate", tried.name, "--head", "h", "--fit.limit", "9"]) == 2
        assert "--fit.limit would have no effect" in capsys.readouterr().err
        assert main(["fit", tried.name, tried.toy.fit[0] + "x"]) == 2
        assert f"'{tried.toy.fit[0]}'" in capsys.readouterr().err


def test_features_that_no_head_takes_are_neither_listed_nor_accepted(tried: Tried, capsys) -> None:
    every = [field.name for field in fields(FeatureConfig)]
    taken = tried.task.features or every
    commands = [
        "evaluate",
        *(["fit"] if tried.task.config else []),
        *(["predict"] if tried.task.predict else []),
    ]
    for command in commands:
        with pytest.raises(SystemExit):
            main([command, tried.name, "--help"])
        told = capsys.readouterr().out.split("\n")
        shown = {line.split()[0] for line in told if line.startswith("  --")}
        assert [name for name in every if f"--{name}" in shown] == [name for name in every if name in taken]
    for name in set(every) - set(taken):
        assert main(["evaluate", tried.name, f"--{name}", "1"]) == 2
        assert f"--{name} is not for {tried.name}" in capsys.readouterr().err


def test_every_exception_to_the_split_that_is_scored_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    told = text.partition("are exceptions: ")[2].partition("`evaluate` says")[0]
    excepted = {
        name for name in TASKS if any(layout.exception for layout in find_task(name).layouts.values())
    }
    assert excepted and excepted == {name for name in TASKS if f"`{name}`" in told}


def test_fields_of_other_packages_are_listed_with_their_defaults(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "brightness", "--help"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "--view.crop N side of the square in its corner. [56]" in lines
    assert "--rate X of learning. [0.1]" in lines
    assert main(["fit", "brightness", "--view.crob", "9"]) == 2
    assert "Did you mean --view.crop" in capsys.readouterr().err


def test_a_package_that_cannot_be_imported_is_named(capsys) -> None:
    assert main(["evaluate", "broken", "--head", "h"]) == 2
    assert "'broken' of codistill.tasks (no_such_module:TASK) cannot be imported" in capsys.readouterr().err
    assert main(["fit", "brightnes"]) == 2
    assert "Did you mean 'brightness'" in capsys.readouterr().err
