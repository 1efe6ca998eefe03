import numpy as np
import pytest
from hilly_scene import hilly_views
from pair_toys import write_views

from codistill.errors import ConfigError, DataError
from codistill.tasks.opening import open_data, open_split
from codistill.tasks.two_view.multiview.data import LAYOUTS, check_keys
from codistill.tasks.two_view.multiview.pose import TASK


def open_views(spec, split):
    return open_split(LAYOUTS, spec, split).samples


def test_a_folder_gives_views_in_the_order_of_its_lines(tmp_path):
    views = hilly_views(3)[::-1]
    write_views(tmp_path / "test" / "chair" / "s1", views)
    write_views(tmp_path / "test" / "apple" / "s2", views[:2], keys=(0,))
    data = open_views(f"multiview:{tmp_path}", "test")
    assert [(data[i].name, data[i].category, len(data[i])) for i in range(2)] == [
        ("apple/s2", "apple", 2),
        ("chair/s1", "chair", 3),
    ]
    sample = data[1]
    assert sample.key() == 1
    for number, view in enumerate(views):
        read = sample.read(number)
        np.testing.assert_array_equal(read.image, view.image)
        np.testing.assert_allclose(read.camera_to_world, view.camera_to_world, atol=1e-7)
        np.testing.assert_allclose(read.intrinsics, view.intrinsics)
    np.testing.assert_allclose(sample.read(1).depth, views[1].depth, atol=5.1e-4)
    assert not sample.read(0).depth.any()


def test_key_txt_chooses_among_views_with_depth(tmp_path):
    folder = tmp_path / "test" / "s"
    write_views(folder, hilly_views(3), keys=(0, 2))
    sample = open_views(f"multiview:{tmp_path}", "test")[0]
    with pytest.raises(DataError, match=r"2 views have a depth map in depth/.* name the key in key\.txt"):
        sample.key()
    (folder / "key.txt").write_text("v2\n")
    assert sample.key() == 2 and sample.category == ""
    (folder / "key.txt").write_text("v1\n")
    with pytest.raises(DataError, match=r"v1\.png: no such file, but .*key\.txt names the view"):
        sample.key()
    (folder / "key.txt").write_text("v3\n")
    with pytest.raises(DataError, match=r"Unknown view 'v3'\. Did you mean .*'v0'"):
        sample.key()


def test_no_depth_at_all_is_said(tmp_path):
    write_views(tmp_path / "test" / "s", hilly_views(2), keys=())
    assert len(open_views(f"multiview:{tmp_path}", "test")) == 1  # poses need no depth
    with pytest.raises(DataError, match="no views have a depth map"):
        check_keys(open_split(LAYOUTS, f"multiview:{tmp_path}", "test"))


def test_a_sample_without_cameras_is_not_left_out(tmp_path):
    for name in ("s", "t"):
        write_views(tmp_path / "test" / name, hilly_views(2))
    (tmp_path / "test" / "t" / "cameras.txt").unlink()
    with pytest.raises(DataError, match=r"test/t/cameras\.txt: cannot be read"):
        open_views(f"multiview:{tmp_path}", "test")


def test_what_lies_wrong_is_named(tmp_path):
    spec = f"multiview:{tmp_path}"
    with pytest.raises(DataError, match=r"no such folder\. Expected layout: SPLIT/\[CATEGORY/\]SAMPLE/"):
        open_views(spec, "test")
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"holds no sample \(no SAMPLE/cameras\.txt\)"):
        open_views(spec, "test")
    folder = tmp_path / "test" / "s"
    write_views(folder, hilly_views(2))
    listing = folder / "cameras.txt"
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join([*lines, lines[-1].replace("v1", "v9")]))
    with pytest.raises(DataError, match=r"1 of 3 views have no image in images/; first: 'v9'"):
        open_views(spec, "test")
    listing.write_text("\n".join([*lines[:-1], "v1 1 2 3"]))
    with pytest.raises(DataError, match=r"cameras\.txt, line 3: expected `NAME fx fy"):
        open_views(spec, "test")
    listing.write_text("\n".join(lines[:2]))
    with pytest.raises(DataError, match="two views at least; got 1"):
        open_views(spec, "test")
    listing.write_text("\n".join(lines))
    write_views(tmp_path / "test" / "chair" / "t", hilly_views(2))
    with pytest.raises(DataError, match="1 samples lie in category folders and 1 do not"):
        open_views(spec, "test")


def test_unknown_layouts_are_named():
    with pytest.raises(ConfigError, match=r"'multiveiw'.*Did you mean 'multiview'"):
        open_views("multiveiw:x", "test")


def test_limits_spread_over_the_samples(tmp_path):
    for number in range(4):
        write_views(tmp_path / "test" / f"s{number}", hilly_views(2))
    data = open_data(TASK, f"multiview:{tmp_path}", "test", limit=2).samples
    assert [data[i].name for i in range(len(data))] == ["s1", "s3"]
