import json

import numpy as np
import pytest
from dense_tools import open_segmentation
from PIL import Image
from task_toys import segmentation_folder, toy_scene, write_png

from codistill.errors import ConfigError, DataError
from codistill.tasks.dense.segmentation.data import classes_seen
from codistill.tasks.shared.data import check_samples

RGB = np.zeros((6, 8, 3), dtype=np.uint8)


def labels_of(*values: int, shape: tuple[int, int] = (6, 8), dtype: type = np.uint8) -> np.ndarray:
    return np.resize(np.array(values, dtype=dtype), shape)


def save_jpg(path, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*shape, 3), dtype=np.uint8)).save(path)


def test_ade20k_reduces_the_zero_label(tmp_path):
    save_jpg(tmp_path / "images" / "training" / "ADE_train_1.jpg")
    write_png(tmp_path / "annotations" / "training" / "ADE_train_1.png", labels_of(0, 1, 150, 255))
    data = open_segmentation(f"ade20k:{tmp_path}", "train", partial=True)
    assert data.samples[0].target.ravel()[:4].tolist() == [255, 0, 149, 255]
    assert len(data.classes) == 150 and (data.classes[0], data.classes[149]) == ("wall", "flag")
    assert data.protocol.scale == (2048, 512) and data.protocol.stride == (341, 341)
    with pytest.raises(DataError, match=r"1 images found, 20210 expected.*--partial"):
        open_segmentation(f"ade20k:{tmp_path}", "train")


@pytest.mark.parametrize("kind", ["labelTrainIds", "labelIds"])
def test_cityscapes_takes_either_kind_of_label(tmp_path, kind):
    save_jpg(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_1_leftImg8bit.png", (1024, 2048))
    raw = {"labelTrainIds": (0, 18, 255), "labelIds": (7, 33, 6)}[kind]
    path = tmp_path / "gtFine" / "val" / "ulm" / f"ulm_1_gtFine_{kind}.png"
    write_png(path, labels_of(*raw, shape=(1024, 2048)))
    data = open_segmentation(f"cityscapes:{tmp_path}", "val", partial=True)
    assert data.samples[0].target.ravel()[:3].tolist() == [0, 18, 255]
    assert (data.classes[0], data.classes[18]) == ("road", "bicycle")


@pytest.mark.parametrize("layout", ["RGB", "MT"])
def test_nyuv2_is_read_in_both_usual_layouts(tmp_path, layout):
    images, labels, listing = {
        "RGB": ("RGB", "Label", "test.txt"),
        "MT": ("images", "segmentation", "gt_sets/val.txt"),
    }[layout]
    save_jpg(tmp_path / images / "17.jpg")
    write_png(tmp_path / labels / "17.png", labels_of(0, 1, 40))
    (tmp_path / listing).parent.mkdir(exist_ok=True)
    (tmp_path / listing).write_text("RGB/17.jpg Label/17.png\n" if layout == "RGB" else "17\n")
    data = open_segmentation(f"nyuv2:{tmp_path}", "val", partial=True)
    assert data.samples[0].target.ravel()[:3].tolist() == [255, 0, 39]
    (tmp_path / listing).write_text("17\n18\n")
    with pytest.raises(DataError, match=r"misses 1 images of \w+\.txt: 18"):
        open_segmentation(f"nyuv2:{tmp_path}", "val", partial=True)


def test_scannet_keeps_twenty_classes_and_knows_raw_ids(tmp_path):
    frame = tmp_path / "scannet_frames_25k" / "scene0000_00"
    save_jpg(frame / "color" / "000000.jpg")
    write_png(frame / "label" / "000000.png", labels_of(0, 1, 39, 40, 13, dtype=np.uint16))
    (tmp_path / "scannetv2_train.txt").write_text("scene0000_00\n")
    data = open_segmentation(f"scannet:{tmp_path}", "train")
    assert data.samples[0].target.ravel()[:5].tolist() == [255, 0, 19, 255, 255]
    assert len(data.classes) == 20
    write_png(frame / "label" / "000000.png", labels_of(0, 1163, dtype=np.uint16))
    with pytest.raises(DataError, match=r"000000\.png: has the label values 1163; .*raw ScanNet ids"):
        check_samples(data)
    (tmp_path / "scannetv2_train.txt").write_text("scene0000_00\nscene0001_00\n")
    with pytest.raises(
        DataError, match=r"misses 1 of the 2 scenes of scannetv2_train\.txt, e\.g\. scene0001_00"
    ):
        open_segmentation(f"scannet:{tmp_path}", "train")


def test_a_folder_of_one_s_own_is_checked_before_training(tmp_path):
    root = segmentation_folder(tmp_path / "own", train=3, val=1)
    data = open_segmentation(f"folder:{root}", "train")
    assert data.classes == ("red", "green", "blue") and len(data.samples) == 3
    check_samples(data)
    label = root / "labels" / "train" / "0001.png"
    write_png(label, np.full((70, 84), 3, dtype=np.uint8))
    with pytest.raises(
        DataError, match=r"0001\.png: has the label values 3; expected 0 to 2 \(classes\.json"
    ):
        check_samples(data)
    write_png(label, np.zeros((35, 42), dtype=np.uint8))
    with pytest.raises(DataError, match=r"0001\.png has 35x42 pixels and its image .*70x84: they must agree"):
        check_samples(data)
    label.unlink()
    with pytest.raises(DataError, match=r"1 of 3 images have no label file; .*0001\.png"):
        open_segmentation(f"folder:{root}", "train")
    (root / "classes.json").write_text(json.dumps("red"))
    with pytest.raises(DataError, match="expected a list of two or more different names"):
        open_segmentation(f"folder:{root}", "val")


def test_a_wrong_resolution_is_named(tmp_path):
    save_jpg(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_1_leftImg8bit.png", (512, 1024))
    write_png(
        tmp_path / "gtFine" / "val" / "ulm" / "ulm_1_gtFine_labelIds.png", labels_of(7, shape=(512, 1024))
    )
    data = open_segmentation(f"cityscapes:{tmp_path}", "val", partial=True)
    with pytest.raises(DataError, match=r"has 512x1024 pixels; this data set has 1024x2048 throughout"):
        check_samples(data)


def test_coloured_labels_are_no_labels(tmp_path):
    root = segmentation_folder(tmp_path / "own", train=1, val=1)
    write_png(root / "labels" / "train" / "0000.png", np.zeros((70, 84, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"0000\.png.*one channel"):
        check_samples(open_segmentation(f"folder:{root}", "train"))


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        ("/data/ade", ConfigError, "write LAYOUT:FOLDER, e.g. ade20k:/data/ade"),
        ("ade:/data", ConfigError, "Did you mean 'ade20k'"),
        ("ade20k:/nowhere", DataError, r"no such folder\. Expected layout: ADEChallengeData2016"),
        ("nyuv2:/nowhere", DataError, "NYUD_MT"),
    ],
)
def test_wrong_specs_say_what_is_allowed(spec, error, text):
    with pytest.raises(error, match=text):
        open_segmentation(spec, "train")


def test_wrong_splits_say_what_is_allowed(tmp_path):
    with pytest.raises(DataError, match="Unknown split 'tset'"):
        open_segmentation(f"ade20k:{tmp_path}", "tset")


def test_labels_that_are_all_ignored_are_noticed(tmp_path):
    root = segmentation_folder(tmp_path / "own", train=2, val=1)
    data = open_segmentation(f"folder:{root}", "train")
    assert not classes_seen(data).absent
    for index in range(2):
        write_png(root / "labels" / "train" / f"{index:04d}.png", np.full((70, 84), 255, dtype=np.uint8))
    with pytest.raises(DataError, match="every label is ignored"):
        classes_seen(data)


def masks(root, classes, foreground=255, suffix=".png"):
    """Binary masks of another value than 1, as drawing programs write them."""
    root.mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(classes))
    for split in ("train", "val"):
        for index in range(3):
            image, labels = toy_scene(index)
            write_png(root / "images" / split / f"{index}.png", image)
            write_png(
                root / "labels" / split / f"{index}{suffix}",
                np.where(labels > 0, foreground, 0).astype(np.uint8),
            )
    return f"folder:{root}"


def test_masks_of_0_and_255_have_a_foreground_or_are_refused(tmp_path):
    spec = masks(tmp_path / "a", ["background", "foreground"])
    with pytest.raises(DataError, match=r"only 'background' has labelled pixels.*\"foreground\": 255"):
        classes_seen(open_segmentation(spec, "train"))
    data = open_segmentation(masks(tmp_path / "b", {"background": 0, "foreground": 255}), "train")
    assert data.classes == ("background", "foreground") and not classes_seen(data).absent
    target = data.samples[0].target
    assert set(np.unique(target)) == {0, 1} and np.array_equal(target, toy_scene(0)[1] > 0)


@pytest.mark.parametrize("foreground", [1, 7, 128, 254])
def test_label_values_mean_what_classes_json_says(tmp_path, foreground):
    spec = masks(tmp_path / "a", {"ground": 0, "thing": foreground, "rare": 60}, foreground)
    seen = classes_seen(open_segmentation(spec, "train"))
    assert seen.absent == ("rare",)
    assert seen.about("training") == "1 classes have no labelled pixel in the 3 images for training: rare"
    assert open_segmentation(masks(tmp_path / "b", ["a", "b"], 255), "train").samples[0].target.max() == 255
    other = open_segmentation(masks(tmp_path / "c", {"ground": 0, "thing": 9}, 8), "train")
    with pytest.raises(DataError, match=r"has the label values 8; expected 0, 9"):
        check_samples(other)


def test_labels_may_have_upper_case_names(tmp_path):
    spec = masks(tmp_path / "a", ["background", "foreground"], 1, ".PNG")
    data = open_segmentation(spec, "train")
    assert not classes_seen(data).absent


@pytest.mark.parametrize(
    "classes",
    [
        ["one"],
        ["a", "b", "a"],
        {"a": 0},
        {"a": 0, "b": 0},
        {"a": -1, "b": 1},
        {"a": "0", "b": "1"},
        {"a": True, "b": 0},
        7,
    ],
)
def test_classes_that_make_no_sense_are_named(tmp_path, classes):
    with pytest.raises(DataError, match=r"classes\.json: expected a list of two or more different names"):
        open_segmentation(masks(tmp_path / "a", classes), "train")
