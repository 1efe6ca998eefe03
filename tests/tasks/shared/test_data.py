"""Pairs of files: labels of one bit, labels named in capital letters, labels that JPEG changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.errors import DataError
from codistill.tasks.shared.data import FilePairs, folder_pairs, pair_up
from codistill.tasks.shared.groups import Groups

MASK = np.random.default_rng(0).random((6, 8)) > 0.5


def pairs_in(folder: Path, labels: dict[str, np.ndarray]) -> FilePairs:
    images = []
    for name, values in labels.items():
        image = folder / f"{Path(name).stem}.JPG"
        Image.new("RGB", values.shape[::-1]).save(image)
        Image.fromarray(values).save(folder / name)
        images.append(image)
    found = pair_up(images, lambda image: image.with_suffix(".png"), "mine")
    groups = Groups(tuple(labels), "images")
    return FilePairs(pairs=found, groups=groups, convert=lambda values: values)


def test_labels_of_one_bit_and_in_capital_letters_are_read(tmp_path: Path) -> None:
    numbers = MASK.astype(np.uint8)
    data = pairs_in(tmp_path, {"bits.png": MASK, "capital.PNG": numbers, "Both.PNG": MASK})
    assert [target.suffix for _, target in data.pairs] == [".png", ".PNG", ".PNG"]
    for index in range(3):
        np.testing.assert_array_equal(data[index].target, numbers)
        assert data[index].target.dtype == np.uint8


def test_a_missing_label_is_still_named_as_it_should_be(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"1 of 1 images have no label file.*a\.png"):
        pair_up([tmp_path / "a.jpg"], lambda image: image.with_suffix(".png"), "mine")


def test_labels_that_are_a_jpeg_are_refused_by_name(tmp_path: Path) -> None:
    data = pairs_in(tmp_path, {"a.png": MASK.astype(np.uint8)})
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(DataError, match=r"a\.png: JPEG does not keep the values"):
        data[0]


def test_targets_may_be_tiff_and_what_is_not_paired_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("images/val/a.jpg", "images/val/b.jpg", "images/val/more/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "labels" / "val").mkdir(parents=True)
    for name in ("a.tif", "b.png", "b.jpg", "d.png", "e.tif"):
        Image.new("L", (8, 6), 1).save(tmp_path / "labels" / "val" / name)
    pairs, _ = folder_pairs(tmp_path, "val", "labels", "")
    assert [(image.name, target.name) for image, target in pairs] == [("a.jpg", "a.tif"), ("b.jpg", "b.png")]
    assert "images/val: passed over 1 folders, which are not searched (first: more)" in caplog.text
    assert "labels/val: passed over 2 files without an image (first: d.png)" in caplog.text
