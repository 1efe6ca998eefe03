"""Costs of one encoder for all heads: operations by formula, sums by hand, and a perception of toys."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "perception"))

from toy_heads import dense_heads, photo

from codistill.bench.perception import (
    CLASSES,
    HEADS,
    PARTS,
    STUDENT,
    Cost,
    bench_perception,
    part_cost,
    way_costs,
)
from codistill.cli import main
from codistill.perception.perception import Perception

CPU = torch.device("cpu")


def test_a_linear_map_by_formula() -> None:
    """Two images of 32 x 32 tokens, 1024 channels to 150 classes: a product, and batch norm's weights."""
    cost = part_cost(PARTS["linear classes"], 448, rounds=0, device=CPU)
    assert cost.flops == 2 * 2 * 32 * 32 * 1024 * CLASSES
    assert cost.parameters == 1024 * CLASSES + CLASSES + 2 * 1024 and cost.cpu_seconds is None


def test_a_transformer_projector_by_formula() -> None:
    """A block on 1 + 1024 tokens of 768 channels, then a linear map to 1024; twice."""
    tokens, dim = 1 + 32 * 32, 768
    products = 2 * tokens * (12 * dim * dim + dim * 1024)
    attention = 2 * 2 * tokens * tokens * dim
    cost = part_cost(PARTS["projector of DINOv2"], 448, rounds=0, device=CPU)
    assert cost.flops == 2 * (products + attention)


def test_a_part_is_timed_at_a_small_size() -> None:
    cost = part_cost(PARTS["linear classes"], 56, rounds=1, device=CPU)
    assert cost.cpu_seconds is not None and cost.cpu_seconds > 0


def test_ways_are_sums_of_parts() -> None:
    costs = {name: Cost(flops=2**n, parameters=1, cpu_seconds=None) for n, name in enumerate(PARTS)}
    one, each, teachers = way_costs(costs).values()
    behind = sum(costs[name].flops for student, _ in HEADS.values() for name in student)
    assert one.flops == costs[STUDENT].flops + behind
    assert each.flops == one.flops + 2 * costs[STUDENT].flops and each.parameters == one.parameters + 2
    assert teachers.flops == sum(costs[name].flops for _, teacher in HEADS.values() for name in teacher)
    alone = way_costs(costs, ("classes",))
    assert list(alone) == ["one student for all heads", "a student for each head", "a teacher for each"]
    assert alone["one student for all heads"] == alone["a student for each head"]


def test_a_perception_beside_its_heads_apart(tmp_path: Path) -> None:
    perception = Perception(heads=dense_heads(tmp_path, ("depth", "normals")), device="cpu")
    speed = bench_perception(perception, [photo()], rounds=1)
    assert set(speed.alone) == {"depth", "normals"}
    assert speed.apart == pytest.approx(sum(speed.alone.values())) and speed.together > 0


def test_the_command_on_a_perception_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from PIL import Image

    dense_heads(tmp_path, ("depth",))
    Image.fromarray(photo()).save(tmp_path / "a.png")
    (tmp_path / "mine.yaml").write_text("heads: {depth: {path: depth}}\n")
    monkeypatch.chdir(tmp_path)
    argv = ["bench", "perception", "--perception", "mine.yaml", "--rounds", "1", "--device", "cpu"]
    assert main([*argv, "--image", "a.png", "--json", "out.json"]) == 0
    told = json.loads(Path("out.json").read_text())
    assert told["heads"]["depth"]["task"] == "depth" and told["share"] == pytest.approx(
        told["together"] / told["apart"], abs=1e-4
    )
    assert "an encoder for each head" in capsys.readouterr().out
    assert main(argv) == 2
    assert "--perception and --image FILE belong together" in capsys.readouterr().err


def test_the_docs_say_what_was_measured() -> None:
    root = Path(__file__).parents[2]
    told = json.loads((root / "docs/metrics/bench_perception_published.json").read_text(encoding="utf-8"))
    page = (root / "docs/perception.md").read_text(encoding="utf-8")
    for ways in (told["ways"], told["ways_without_pairs"]):
        teachers = list(ways.values())[-1]
        for name, cost in ways.items():
            share = cost["flops"] / teachers["flops"]
            assert f"{name} | {cost['flops'] / 1e9:.0f} ({share:.2f}) | " in page
