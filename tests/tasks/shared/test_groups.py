import json

import numpy as np
import pytest
from dense_tools import open_depth, open_segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from task_toys import depth_lists, segmentation_folder

from codistill.errors import DataError
from codistill.tasks.classification.data import LAYOUTS
from codistill.tasks.classification.logistic import split_per_class
from codistill.tasks.dense.cached_fit import split_held_out
from codistill.tasks.opening import open_split
from codistill.tasks.shared.data import limited
from codistill.tasks.shared.groups import Groups, alone, groups_of, joined, named_groups, split_groups
from codistill.world.identity import scene_of


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    wanted=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_no_held_out_sample_has_a_relative_in_training(sizes, wanted, seed):
    names = tuple(f"room {number}" for number, size in enumerate(sizes) for _ in range(size))
    split = split_groups(Groups(names, "rooms"), wanted, seed)
    training, held = ({names[i] for i in part} for part in (split.training, split.held_out))
    assert training and held and not training & held and not split.shared
    assert sorted((*split.training, *split.held_out)) == list(range(len(names)))
    if max(sizes) <= len(names) // 2:
        assert len(split.held_out) <= len(names) // 2


def test_samples_of_one_group_are_split_and_it_is_said():
    split = split_groups(Groups(("street",) * 20, "camera"), 8, 0)
    assert split.shared and len(split.held_out) == 8
    assert Groups(("street",) * 20, "camera").warning() == "one group (camera): intervals are unknown"
    assert "3 groups only" in Groups(("a", "b", "c"), "rooms").warning()
    assert not alone(range(30)).warning()


@given(
    groups=st.lists(st.integers(0, 7), min_size=4, max_size=40),
    labels=st.lists(st.integers(0, 2), min_size=40, max_size=40),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_classes_are_held_out_by_groups_and_keep_something_to_train_on(groups, labels, seed):
    numbers, label = np.array(groups), np.array(labels[: len(groups)])
    kept, held = split_per_class(label, 0.2, seed, [f"g{g}" for g in groups])
    assert not set(numbers[kept]) & set(numbers[held])
    assert set(label[kept]) == set(label) and sorted((*kept, *held)) == list(range(len(groups)))


def test_a_groups_file_says_what_belongs_together(tmp_path):
    root = segmentation_folder(tmp_path / "own", train=20, val=4)
    data = open_segmentation(f"folder:{root}", "val").samples
    assert data.groups.count == 4 and "no groups.json" in data.groups.about()
    said = {"val": {f"{i}.png": f"street {i // 1002}" for i in range(1000, 1004)}}
    (root / "groups.json").write_text(json.dumps(said))
    data = open_segmentation(f"folder:{root}", "val").samples
    assert data.groups.names == ("street 0", "street 0", "street 1", "street 1")
    assert (
        limited(data, 2).groups.count == 2 and "2 groups (groups of groups.json) of 4" in data.groups.about()
    )
    with pytest.raises(DataError, match="names no groups of the split 'train'"):
        open_segmentation(f"folder:{root}", "train")
    said["train"] = {f"{i:04d}": f"room {i // 2}" for i in range(19)}
    (root / "groups.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"misses 1 of 20 samples of train, e.g. '0019.png'"):
        open_segmentation(f"folder:{root}", "train")
    said["train"]["0019"] = "room 9"
    (root / "groups.json").write_text(json.dumps(said))
    train, held = split_held_out(open_segmentation(f"folder:{root}", "train").samples, 0.05, 0)
    assert len(held) == 8 and not {*named_groups(train).names} & {*named_groups(held).names}


def test_nyu_s_scenes_and_room_types_are_its_groups(tmp_path):
    root = depth_lists(tmp_path, train=3, test=2)
    train, test = (open_depth(f"nyud:{root}", s, partial=True).samples.groups for s in ("train", "val"))
    assert (train.names, train.kind) == (("den_0001",) * 3, "scenes")
    assert (test.names, test.kind) == (("den",) * 2, "room types")


def test_published_names_tell_sequences_and_scenes(tmp_path):
    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)

    image, label = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.uint8)
    for name in ("ulm_000000_000019", "ulm_000001_000019", "bonn_000000_000019", "bonn_000000_000049"):
        city = name.split("_")[0]
        write(tmp_path / f"c/leftImg8bit/val/{city}/{name}_leftImg8bit.png", image)
        write(tmp_path / f"c/gtFine/val/{city}/{name}_gtFine_labelTrainIds.png", label)
    found = open_segmentation(f"cityscapes:{tmp_path / 'c'}", "val", partial=True).samples.groups
    assert found.names[0] == found.names[1] and found.count == 3 and found.kind == "sequences"
    frames = tmp_path / "s" / "scannet_frames_25k"
    for scene in ("scene0000_00", "scene0000_01", "scene0002_00"):
        write(frames / scene / "color" / "000000.jpg", image)
        write(frames / scene / "label" / "000000.png", label + 1)
    (tmp_path / "s" / "scannetv2_val.txt").write_text("scene0000_00\nscene0000_01\nscene0002_00\n")
    found = open_segmentation(f"scannet:{tmp_path / 's'}", "val", partial=True).samples.groups
    assert found.names == ("scene0000", "scene0000", "scene0002")


def test_the_views_of_a_room_are_one_scene_and_pairs_that_share_an_image_one_group():
    assert (
        scene_of("rooms-test-0000003-a.jpg") == scene_of("rooms-test-0000003-b.jpg") == "rooms-test-0000003"
    )
    assert scene_of("objects-train-0000003.jpg") == "objects-train-0000003"
    groups = joined([("a", "b"), ("c", "d"), ("b", "e"), ("f", "c"), ("g", "h")])
    assert groups[0] == groups[2] and groups[1] == groups[3] and len(set(groups)) == 3


def test_image_folders_take_groups_by_their_path_below_the_split(tmp_path):
    for split, names in (("train", ("a/1", "a/2", "b/1")), ("val", ("a/1", "b/1"))):
        for name in names:
            path = tmp_path / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
    assert open_split(LAYOUTS, f"folder:{tmp_path}", "train").samples.groups.count == 3
    said = {"a/1.png": "x", "a/2.png": "y", "b/1.png": "x"}
    (tmp_path / "groups.json").write_text(json.dumps({"train": said}))
    data = open_split(LAYOUTS, f"folder:{tmp_path}", "train").samples
    assert data.groups.names == ("x", "y", "x") and limited(data, 1).groups.names == ("y",)


def test_a_damaged_groups_file_is_named(tmp_path):
    (tmp_path / "groups.json").write_text(json.dumps({"train": ["a"]}))
    with pytest.raises(DataError, match=r"groups\.json: names no groups of the split 'train'"):
        groups_of(tmp_path, "train", ["a"])
