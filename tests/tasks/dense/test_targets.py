import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from codistill.tasks.dense.cache import CacheShape, FeatureCache
from codistill.tasks.dense.cached_task import sample_pixels
from codistill.tasks.dense.targets import STORED


def kept(kind: str, values: torch.Tensor, unit: float = 0.001) -> torch.Tensor:
    """Values after they went to their file's numbers and back."""
    stored = STORED[kind]  # type: ignore[index]
    return stored.read(stored.store(values, unit).numpy().astype(stored.dtype), unit)


def test_normals_are_off_by_less_than_half_a_degree_and_unknown_stays():
    vectors = normalize(torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    vectors[:7] = 0.0
    found = kept("normals", vectors)
    assert not found[:7].any() and found[7:].any(-1).all() and found.dtype == torch.float32
    products = (found[7:].double() * vectors[7:].double()).sum(-1)
    assert torch.rad2deg(torch.acos(products.clamp(-1, 1))).max() < 0.4
    torch.testing.assert_close(found[7:].norm(dim=-1), torch.ones(len(found) - 7))


def test_metres_and_classes_as_before():
    metres = torch.tensor([0.0, 0.0004, 1.2346, 65.535, 80.0])
    torch.testing.assert_close(kept("metres", metres), torch.tensor([0.0, 0.0, 1.235, 65.535, 65.535]))
    assert kept("metres", torch.tensor([120.0]), 0.002).item() == pytest.approx(120.0)
    classes = torch.tensor([0, 7, 255], dtype=torch.uint8)
    assert torch.equal(kept("classes", classes), classes)


@pytest.mark.parametrize("kind", ["metres", "normals"])
def test_sampled_pixels_are_those_of_the_whole_target(tmp_path, kind):
    shape = CacheShape(views=5, grid=(2, 3), channels=4, cls_channels=0, target=(6, 9), kind=kind)
    rng = np.random.default_rng(0)
    for name, (size, dtype) in shape.files().items():
        (rng.normal(size=size) * 60).astype(dtype).tofile(tmp_path / name)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == shape.num_bytes
    cache = FeatureCache(tmp_path, shape, "")
    views = np.array([4, 1])
    sampled = sample_pixels(cache, views, 20, np.random.default_rng(1), torch.device("cpu"))
    whole = cache.target(views)
    assert whole.shape == (2, 6, 9, *STORED[kind].parts)  # type: ignore[index]
    assert torch.equal(sampled.truth, whole[torch.arange(2)[:, None], sampled.rows, sampled.columns])
