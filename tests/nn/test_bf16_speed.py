"""Whether bf16 is faster on this CPU: measured once, said and kept."""

import json
import logging
from pathlib import Path

import pytest

from codistill.nn import bf16_speed


@pytest.mark.parametrize(
    ("fp32", "bf16", "faster"), [(0.02, 0.01, True), (0.0105, 0.01, False), (0.01, 0.02, False)]
)
def test_it_is_measured_once_said_and_kept(
    fp32: float,
    bf16: float,
    faster: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured: list[int] = []

    def block() -> dict[str, float]:
        measured.append(1)
        return {"fp32": fp32, "bf16": bf16}

    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path))
    monkeypatch.setattr(bf16_speed, "measured_block", block)
    monkeypatch.setattr(bf16_speed, "onednn_computes_in", lambda dtype: True)
    wanted = "bf16" if faster else "fp32"
    for _ in range(2):  # the second time from the file, as another process would
        monkeypatch.setattr(bf16_speed, "_MEASURED", {})
        with caplog.at_level(logging.WARNING, "codistill"):
            assert bf16_speed.bf16_is_faster() == bf16_speed.bf16_is_faster() == faster
    assert len(measured) == 1
    assert [wanted in record.getMessage() for record in caplog.records] == [True]
    file = next((tmp_path / "precision").iterdir())
    for damaged in ("{", "[]", json.dumps({"processor": "another", "fp32": 1, "bf16": 1})):
        file.write_text(damaged)
        monkeypatch.setattr(bf16_speed, "_MEASURED", {})
        assert bf16_speed.bf16_is_faster() == faster
    assert len(measured) == 4


def test_nothing_is_measured_without_bf16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16_speed, "onednn_computes_in", lambda dtype: False)
    monkeypatch.setattr(bf16_speed, "measured_block", None)
    assert not bf16_speed.bf16_is_faster()


def test_what_another_process_has_kept_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block() -> dict[str, float]:
        if not others:
            others.append(1)
            monkeypatch.setattr(bf16_speed, "_MEASURED", {})
            assert bf16_speed.bf16_is_faster()  # the other rank: bf16 in half the time
            return {"fp32": 1.0, "bf16": 1.0}
        return {"fp32": 2.0, "bf16": 1.0}

    others: list[int] = []
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path))
    monkeypatch.setattr(bf16_speed, "measured_block", block)
    monkeypatch.setattr(bf16_speed, "onednn_computes_in", lambda dtype: True)
    monkeypatch.setattr(bf16_speed, "_MEASURED", {})
    assert bf16_speed.bf16_is_faster()


def test_a_real_measurement_gives_seconds() -> None:
    assert all(0 < seconds < 10 for seconds in bf16_speed.measured_block().values())
