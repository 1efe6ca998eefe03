import json

import pytest
import torch

from codistill.data import open_source
from codistill.errors import ConfigError, DataError, WriteError

pytest.importorskip("embreex", reason="needs the extra `world`")

from codistill.world.build import WorldConfig, build_world, split_folder
from codistill.world.checks import check_overlap, check_reprojection, color_probe
from codistill.world.dataset import World
from codistill.world.identity import SPLITS
from codistill.world.show import matched_points, truth_sheet
from codistill.world.statistics import describe_world

SMALL = WorldConfig(images=6, domains=("objects",), size=32)


def build(folder, config=SMALL, workers=1):
    seen = []
    mended = build_world(folder, config, workers=workers, progress=lambda d, s, n: seen.append((s, n)))
    return mended, sum(n for _, n in seen)


def shards(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.tar"))}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    build(folder)
    return folder


def test_an_interrupted_build_goes_on_and_a_damaged_shard_is_made_again(small):
    before = shards(small)
    victim = split_folder(small, "objects", "train") / "shard-000000.tar"
    data = bytearray(victim.read_bytes())
    data[700] ^= 0xFF
    victim.write_bytes(bytes(data))
    mended, pictures = build(small)
    assert mended == [victim]
    assert pictures == SMALL.pictures() == 6
    victim.unlink()
    assert build(small)[0] == []
    assert shards(small) == before


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(small, tmp_path):
    build(tmp_path, workers=2)
    assert shards(tmp_path) == shards(small)


def test_a_world_grows_and_keeps_what_it_has(tmp_path):
    build(tmp_path, WorldConfig(images=6, domains=("objects",), size=32))
    first = [open_source(s).read(0) for s in World(tmp_path).sources("train")]
    build(tmp_path, WorldConfig(images=9, domains=("objects",), size=32))
    assert [open_source(s).read(0) for s in World(tmp_path).sources("train")] == first
    assert sum(len(World(tmp_path).segmentation(s)) for s in SPLITS) == 9


def test_another_size_or_seed_is_refused(small):
    with pytest.raises(DataError, match="another size"):
        build_world(small, WorldConfig(images=6, domains=("objects",), size=64))
    with pytest.raises(DataError, match="no world here"):
        World(small / "objects")


@pytest.mark.parametrize("change", [{"images": 6}, {"test_share": 0.4}])
def test_a_build_that_would_remove_pictures_is_refused(tmp_path, change):
    larger = {"images": 9, "domains": ("objects",), "size": 32}
    build(tmp_path, WorldConfig(**larger))
    before, plan = shards(tmp_path), (tmp_path / "world.json").read_bytes()
    with pytest.raises(DataError, match=r"pictures of objects, train, .* only grows"):
        build(tmp_path, WorldConfig(**(larger | change)))
    assert shards(tmp_path) == before
    assert (tmp_path / "world.json").read_bytes() == plan
    assert build(tmp_path, WorldConfig(**larger)) == ([], 9)


def test_a_file_in_the_place_of_a_domain_is_named(tmp_path):
    (tmp_path / "objects").write_text("")
    with pytest.raises(WriteError, match=r"objects/train: cannot be written"):
        build(tmp_path)


def test_a_world_of_another_format_is_to_be_built_again(small, tmp_path):
    plan = json.loads((small / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps({**plan, "format": 1}))
    with pytest.raises(DataError, match="format 1, and this version reads format 2"):
        World(tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"domains": ("object",)}, "Did you mean 'objects'"),
        ({"images": 3}, "at least 18"),
        ({"size": 8}, "32 to 1024"),
        ({"test_share": 0.99}, "leave something for training"),
        ({"val_share": float("nan")}, "leave something for training"),
        ({"seed": -1}, "seed must be 0 or more; got -1"),
    ],
)
def test_configs_say_what_is_wrong(change, text):
    with pytest.raises(ConfigError, match=text):
        WorldConfig(**({"images": 60} | change))


def test_the_domains_are_ordinary_sources_and_typed_data(tiny_world):
    world = World(tiny_world)
    assert [s.domain for s in world.sources()] == ["generic", "3d"]
    for config in world.sources("val"):
        source = open_source(config)
        assert source.load_rgb(0).shape == (112, 112, 3)
    sample = world.segmentation("train")[0]
    assert sample.labels.shape == (112, 112)
    assert int(sample.labels.max()) < len(world.classes)
    depth = world.depth("train")[len(world.depth("train")) - 1]
    finite = torch.isfinite(depth.depth)
    assert float(depth.depth[finite].min()) > 0.1
    with pytest.raises(DataError, match="has no people"):
        world.people("train")
    with pytest.raises(IndexError):
        world.pairs("test")[99]


def test_pairs_agree_with_their_depth(tiny_world):
    world = World(tiny_world)
    pairs = [pair for split in SPLITS for pair in world.pairs(split)]
    assert len(pairs) == 6
    for check in (check_reprojection(pairs), check_overlap(pairs)):
        assert check.passed, check
    first, second = matched_points(pairs[0], 8)
    # Independently: unproject by hand, move by the stored relative pose, project.
    column, row = first[0].astype(int)
    k = pairs[0].intrinsics.double()
    point = (
        pairs[0].depths[0, row, column].double()
        * torch.linalg.inv(k[0])
        @ torch.tensor([column, row, 1.0]).double()
    )
    there = pairs[0].relative.double() @ torch.cat([point, torch.ones(1).double()])
    pixel = k[1] @ there[:3] / there[2]
    torch.testing.assert_close(pixel[:2], torch.from_numpy(second[0]), atol=1e-2, rtol=0)


def test_colors_tell_little_of_the_class(tiny_world):
    accuracy, _ = color_probe(World(tiny_world))
    assert accuracy < 0.35


def test_sheets_and_statistics_of_a_world(tiny_world):
    world = World(tiny_world)
    assert truth_sheet(world, "val", rows=1).shape[0] == 2 * 112 + 3 * 6
    facts = describe_world(world, depth_maps=2)
    json.dumps(facts)
    assert facts["images"]["rooms"] == {"train": 8, "val": 2, "test": 2}
    assert facts["classes"]["ceiling"]["train"] > 0
