"""Semantic correspondence on a toy SPair-71k whose key-points are worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spair_toys import SIZE, spair_folder, write_pair
from torch import Tensor

from codistill.errors import ConfigError, DataError
from codistill.tasks.correspondence.semantic import TASK, SemanticTest
from codistill.tasks.correspondence.spair import SPairData, open_spair
from codistill.tasks.encoder_alone import DenseFeatures
from codistill.tasks.evaluation import Evaluation, evaluate, write_evaluation
from codistill.tasks.layout import Where
from codistill.tasks.opening import open_data
from codistill.tasks.registry import find_task
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject


class Cells(DenseFeatures):
    """Every cell has a channel of its own, whatever the picture; and how many pictures were seen."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity())  # type: ignore[arg-type]
        self.seen: list[tuple[int, ...]] = []

    def map_of(self, image: np.ndarray) -> Tensor:
        self.seen.append(image.shape)
        return torch.eye(100).reshape(100, 10, 10)


def opened(root: Path, split: str = "test") -> SPairData:
    return open_data(TASK, f"spair:{root}", split, partial=True)


def scored(root: Path, test: SemanticTest) -> tuple[Evaluation, Cells]:
    data, model = opened(root), Cells()
    found = evaluate(TASK, TASK.score(model, data, test, Runtime(out=root)), data, test)
    write_evaluation(root / "out", TASK, found, data, test, {}, [])
    return found, model


def test_pck_is_that_of_hand_counted_key_points(tmp_path: Path) -> None:
    """cat: 5 of 6 points, or the mean of 1/2 and 4/4; cow: 1 of 2."""
    found, model = scored(spair_folder(tmp_path), SemanticTest(size=140))
    assert found.scores["pck"].mean == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)
    assert found.scores["pck_image"].mean == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert found.scores["pck_0.05"].mean == pytest.approx(100 * (5 / 6 + 0) / 2)
    assert found.summary.facts["class_pck"] == {"cat": 83.33, "cow": 50.0}
    assert found.summary.facts["viewpoint_pck"] == {"1": 50.0, "2": 83.33}
    assert found.table.groups.names == ("cat/aa", "cat/aa", "cow/dddd")
    assert model.seen == [(140, 140, 3)] * 5  # five pictures, one of them in two pairs
    assert (tmp_path / "out" / "pictures.png").is_file()
    for column in TASK.columns.values():
        assert column.statistic.difference(found.table, found.table).mean == 0.0


def test_upsampled_features_are_looked_at_in_every_pixel(tmp_path: Path) -> None:
    """Counted from the cells' centres, 55.6 of 100 is the pixel 55 of 100, which is called 55.5."""
    found, _ = scored(spair_folder(tmp_path), SemanticTest(size=100, upsample=True))
    first = found.table.values["counts"][0]
    assert first.tolist() == [2, 0, 0, 0]  # (55.5, 55.5) is 5.5 and more from both
    with pytest.raises(ConfigError, match=r"multiple of 14; got 100"):
        TASK.load(
            Subject(features=FeatureConfig(encoder="baseline:colour")),
            SemanticTest(size=100, upsample=True),
            None,
        )


def test_pictures_are_padded_with_white_below_and_to_the_right(tmp_path: Path) -> None:
    seen = []

    class Looking(Cells):
        def map_of(self, image: np.ndarray) -> Tensor:
            seen.append(image)
            return super().map_of(image)

    data, test = opened(spair_folder(tmp_path)), SemanticTest(size=SIZE)
    list(TASK.score(Looking(), data, test, Runtime(out=tmp_path)))
    assert (seen[0][80:] == 255).all() and (seen[0][:80, :, 0] < 60).all()


def test_an_encoder_finds_key_points_of_the_same_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    points = [[float(x), float(y)] for x in (20, 50, 80) for y in (20, 50, 80)]
    write_pair(tmp_path, "cat", ("aa", "bb"), [points, points], [0, 0, 100, 100])
    for name in ("aa", "bb"):
        picture = Image.fromarray(noise).resize((100, 100), Image.Resampling.NEAREST)
        picture.save(tmp_path / "JPEGImages" / "cat" / f"{name}.jpg", quality=98)
    data, test = opened(tmp_path), SemanticTest(size=140, upsample=True)
    model = TASK.load(Subject(features=FeatureConfig(encoder="baseline:colour")), test, data)
    found = evaluate(TASK, TASK.score(model, data, test, Runtime(out=tmp_path)), data, test)
    assert found.scores["pck"].mean == 100.0


def test_a_draw_of_each_class_is_the_same_every_time(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(tmp_path, "cat", (f"a{number}", "bb"), [[[1, 1]], [[1, 1]]], [0, 0, 9, 9])
        write_pair(tmp_path, "cow", (f"c{number}", "dd"), [[[1, 1]], [[1, 1]]], [0, 0, 9, 9])
    first, again = opened(tmp_path, "test-2"), opened(tmp_path, "test-2")
    assert [one.name for one in first.samples] == [one.name for one in again.samples]
    assert len(first.samples) == 4
    assert [one.category for one in first.samples] == ["cat", "cat", "cow", "cow"]
    assert len(opened(tmp_path, "test-50").samples) == 12


@pytest.mark.parametrize("split", ["train", "test-", "test-0", "test-x", "test200"])
def test_other_splits_are_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match=r"no split .* test-200: 200 pairs of each class"):
        open_spair(Where("spair:here", tmp_path, split))


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder.*PairAnnotation"):
        opened(tmp_path)
    spair_folder(tmp_path)
    with pytest.raises(DataError, match=r"3 pairs found, 12234 expected.*--partial"):
        open_data(TASK, f"spair:{tmp_path}", "test")
    bad = tmp_path / "PairAnnotation" / "test" / "aa-bb:cat.json"
    said = json.loads(bad.read_text())
    bad.write_text(json.dumps({**said, "trg_kps": [[1, 2]]}))
    with pytest.raises(DataError, match=r"aa-bb:cat.json.*2 and 1 keypoints"):
        opened(tmp_path)
    bad.write_text(json.dumps({**said, "src_imname": "../../../secret.jpg"}))
    with pytest.raises(DataError, match="outside of the root"):
        opened(tmp_path)
    bad.write_text("[]")
    with pytest.raises(DataError, match=r"is no pair of SPair-71k \(src_imname"):
        opened(tmp_path)


def test_it_is_a_task_without_a_fit() -> None:
    assert find_task("semantic-correspondence") is TASK and TASK.fit is None
    with pytest.raises(ConfigError, match="takes no head"):
        TASK.load(Subject(head=Path("heads/mine")), SemanticTest(), None)
