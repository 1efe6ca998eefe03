import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dense_tools import open_segmentation
from task_toys import ENCODER, segmentation_folder, write_png

from codistill.errors import ConfigError, DataError
from codistill.tasks.dense.cache import announce, build_cache, cache_shape
from codistill.tasks.dense.segmentation.views import SegmentationViews
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.loading import Request, view_batches

KEY = {"what": "toy"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = segmentation_folder(tmp_path_factory.mktemp("cache"), train=5, val=1)
    data = open_segmentation(f"folder:{root}", "train")
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, blocks=(0, 1)))
    return data.samples, SegmentationViews(data.protocol.at_size(42)), features


def test_it_holds_the_features_of_every_view(tmp_path, parts):
    data, maker, features = parts
    shape = cache_shape(features, maker, 10, "classes", with_cls=True)
    assert (shape.grid, shape.channels, shape.cls_channels) == ((3, 3), 96, 96)
    cache = build_cache(tmp_path, KEY, shape, features, data, maker, seed=7, batch_size=3, workers=0)
    rows = np.array([8, 1])  # pass 1 of sample 3, pass 0 of sample 1
    for row, request in zip(rows, (Request(1, (3,), (3,)), Request(0, (1,), (1,))), strict=True):
        batch = next(view_batches(data, maker, [request], seed=7, workers=0))
        levels = features(batch.images)
        expected = torch.cat([level.patches for level in levels], dim=-1)
        one = np.array([row])
        torch.testing.assert_close(cache.tokens(one).float(), expected, rtol=1e-3, atol=1e-3)
        cls = torch.cat([level.cls for level in levels if level.cls is not None], dim=-1)
        torch.testing.assert_close(cache.cls(one).float(), cls, rtol=1e-3, atol=1e-3)  # type: ignore[union-attr]
        assert torch.equal(cache.target(one), batch.target)
    written = sum(path.stat().st_size for path in tmp_path.iterdir() if path.suffix in (".f16", ".u8"))
    assert written == shape.num_bytes


def test_an_interrupted_cache_goes_on_where_it_stopped(tmp_path, parts):
    data, maker, features = parts
    shape = cache_shape(features, maker, 40, "classes", with_cls=False)
    whole = build_cache(
        tmp_path / "whole", KEY, shape, features, data, maker, seed=0, batch_size=2, workers=0
    )
    computed = []

    class StopError(Exception):
        pass

    def stop_at(limit):
        def progress(done: int, total: int) -> None:
            computed.append(done)
            if done >= limit:
                raise StopError

        return progress

    folder = tmp_path / "again"
    with pytest.raises(StopError):
        build_cache(
            folder, KEY, shape, features, data, maker, seed=0, batch_size=2, workers=0, progress=stop_at(37)
        )
    computed.clear()
    again = build_cache(
        folder, KEY, shape, features, data, maker, seed=0, batch_size=2, workers=0, progress=stop_at(99)
    )
    assert computed[0] > 0
    everything = np.arange(40)
    assert torch.equal(again.tokens(everything), whole.tokens(everything))
    computed.clear()
    build_cache(folder, KEY, shape, features, data, maker, seed=0, workers=0, progress=stop_at(99))
    assert computed == [40]


def test_a_folder_of_something_else_is_refused(tmp_path, parts):
    data, maker, features = parts
    shape = cache_shape(features, maker, 5, "classes", with_cls=False)
    build_cache(tmp_path, KEY, shape, features, data, maker, seed=0, workers=0)
    with pytest.raises(ConfigError, match=r"something else \(different: what\)"):
        build_cache(tmp_path, {"what": "other"}, shape, features, data, maker, seed=0, workers=0)


def test_disk_need_is_announced_and_refused_where_it_is_not_free(tmp_path, parts, monkeypatch):
    _, maker, features = parts
    shape = cache_shape(features, maker, 1000, "metres", with_cls=True)
    expected = 1000 * (9 * 96 * 2 + 96 * 2 + 42 * 42 * 2)
    assert shape.num_bytes == expected
    assert f"{expected / 2**20:.1f} MiB" in announce({"training": shape}, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    with pytest.raises(
        ConfigError, match=r"too little \(1\.0 GiB must stay free\)\. Use fewer views \(--views\)"
    ):
        announce({"training": shape}, tmp_path)


def test_features_beyond_fp16_say_what_to_do(tmp_path, parts):
    data, maker, _ = parts
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=True))
    features.encoder.norm.weight.data.fill_(1e6)  # type: ignore[union-attr]
    shape = cache_shape(features, maker, 5, "classes", with_cls=False)
    with pytest.raises(DataError, match="too large for fp16"):
        build_cache(tmp_path, KEY, shape, features, data, maker, seed=0, workers=0)


def test_repaired_labels_are_seen_and_the_rest_stays(tmp_path):
    root = segmentation_folder(tmp_path / "data", train=6, val=1)
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    encoded, said = [], []

    def built(folder):
        data = open_segmentation(f"folder:{root}", "train")
        maker = SegmentationViews(data.protocol.at_size(42))
        shape = cache_shape(features, maker, 2 * len(data.samples), "classes", with_cls=False)
        start = []
        cache = build_cache(
            folder,
            KEY,
            shape,
            features,
            data.samples,
            maker,
            seed=1,
            workers=0,
            progress=lambda done, total: start.append(total - done),
            say=said.append,
        )
        encoded.append(start[0])
        return cache

    first = built(tmp_path / "cache").identity
    label = root / "labels" / "train" / "0002.png"
    write_png(label, np.zeros((70, 84), np.uint8))
    write_png(root / "images" / "train" / "0004.png", np.zeros((70, 84, 3), np.uint8))
    again, fresh = built(tmp_path / "cache"), built(tmp_path / "fresh")
    everything = np.arange(12)
    assert torch.equal(again.target(everything), fresh.target(everything))
    torch.testing.assert_close(again.tokens(everything), fresh.tokens(everything), atol=2e-3, rtol=2e-3)
    assert again.identity == fresh.identity != first
    assert "0002.png" in said[0] and "0004.png" in said[0] and "4 of 12 views" in said[0]
    (root / "classes.json").write_text('["red", "green", "blue", "violet"]')
    built(tmp_path / "cache")
    assert "classes.json" in said[1]
    for path in (root / "images" / "train" / "0000.png", root / "labels" / "train" / "0000.png"):
        path.unlink()
    built(tmp_path / "cache")
    assert encoded == [12, 4, 12, 12, 10] and "gone" in said[2]
