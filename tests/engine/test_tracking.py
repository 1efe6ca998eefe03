"""Ids of a run outside: its own, kept when it resumes, moved or not; the packages themselves are stand-ins."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from codistill.engine.tracking import IDS, MlflowTracker, WandbTracker


class Server:
    """What a tracking service hears."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.known: list[str] = []

    def init(self, **options: Any) -> SimpleNamespace:
        self.opened.append(options)
        return SimpleNamespace()

    def start_run(self, run_id: str | None = None, run_name: str = "") -> SimpleNamespace:
        if run_id is not None and run_id not in self.known:
            raise LookupError(f"no run {run_id}")
        self.known += [] if run_id else [f"{run_name}-{len(self.known)}"]
        self.opened.append({"id": run_id or self.known[-1]})
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or self.known[-1]))

    @property
    def ids(self) -> list[str]:
        return [options["id"] for options in self.opened]


@pytest.fixture(params=["wandb", "mlflow"])
def open_run(request, monkeypatch):
    """Opens a tracker in a folder at a step; its server."""
    server, module = Server(), ModuleType(request.param)
    module.__dict__.update(
        init=server.init,
        start_run=server.start_run,
        log_dict=lambda *given: None,
        exceptions=SimpleNamespace(MlflowException=LookupError),
    )
    monkeypatch.setitem(sys.modules, request.param, module)
    tracker = {"wandb": WandbTracker, "mlflow": MlflowTracker}[request.param]

    def opened(folder: Path, step: int) -> Server:
        folder.mkdir(parents=True, exist_ok=True)
        tracker(folder, step, {})
        return server

    return opened


def test_runs_in_folders_of_one_name_are_two_and_each_resumes_as_itself(tmp_path, open_run):
    for step in (0, 100, 200):
        for person in ("alice", "bob"):
            server = open_run(tmp_path / person / "first", step)
    first, second, *later = server.ids
    assert first != second and later == [first, second, first, second]


def test_a_run_that_begins_anew_is_a_new_one(tmp_path, open_run):
    open_run(tmp_path, 0)
    first, second = open_run(tmp_path, 0).ids
    assert first != second


def test_a_moved_run_resumes_and_a_copied_one_is_its_own(tmp_path, open_run):
    open_run(tmp_path / "a", 0)
    (tmp_path / "a").rename(tmp_path / "b")
    open_run(tmp_path / "b", 5)
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    open_run(tmp_path / "c", 5)
    open_run(tmp_path / "b", 6)
    start, moved, copied, original = open_run(tmp_path / "c", 7).ids[:4]
    assert start == moved == original != copied
    assert open_run(tmp_path / "c", 8).ids[-2:] == [copied, copied]


def test_trackers_do_not_forget_each_other(tmp_path, monkeypatch):
    server = Server()
    for name in ("wandb", "mlflow"):
        module = ModuleType(name)
        module.__dict__.update(init=server.init, start_run=server.start_run, log_dict=lambda *given: None)
        monkeypatch.setitem(sys.modules, name, module)
    for step in (0, 9):
        WandbTracker(tmp_path, step, {})
        MlflowTracker(tmp_path, step, {})
    assert server.ids[:2] == server.ids[2:]
    assert set(json.loads((tmp_path / IDS).read_text())["ids"]) == {"wandb", "mlflow"}


def test_a_run_that_mlflow_no_longer_has_gets_a_new_one(tmp_path, monkeypatch, caplog):
    server, module = Server(), ModuleType("mlflow")
    module.__dict__.update(
        start_run=server.start_run,
        log_dict=lambda *given: None,
        exceptions=SimpleNamespace(MlflowException=LookupError),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    MlflowTracker(tmp_path, 0, {})
    server.known = ["another"]
    MlflowTracker(tmp_path, 5, {})
    MlflowTracker(tmp_path, 6, {})
    assert server.ids[1] == server.ids[2] != server.ids[0]
    assert "a new one is started" in caplog.text
