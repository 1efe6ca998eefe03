from itertools import islice

import numpy as np
import pytest
import torch
from pair_toys import ENCODER, ToyPairs, plane_pair

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError
from codistill.tasks.shared.loading import Request
from codistill.tasks.two_view.batches import matches_generator, online_batches, pair_batches, pair_truth
from codistill.tasks.two_view.cached_batches import cached_batches
from codistill.tasks.two_view.token_cache import CacheShape, announce, build_token_cache
from codistill.tasks.two_view.views import PairViews

SIZE = (28, 42)


def _truth(count=200):
    view = PairViews(size=(56, 84)).plain(plane_pair())
    tensors = (torch.from_numpy(x) for x in (view.depths, view.intrinsics, view.poses))
    return pair_truth(*tensors, count, matches_generator(0, 0, 0))


def test_true_correspondences_are_one_place_and_false_ones_are_not():
    first, second = _truth()
    valid = first.matches_valid[0]
    assert valid.sum() == 100 and torch.equal(valid, second.matches_valid[0])
    places = [t.points[0][t.matches[0, :, 1], t.matches[0, :, 0]] for t in (first, second)]
    apart = (places[0] - places[1]).norm(dim=-1)
    assert apart[valid].max() < 0.06  # half a pixel at 3 m and a focal length of 70
    assert apart[~valid].median() > 0.5


def test_sky_and_unknown_pixels_are_not_valid():
    view = PairViews(size=(56, 84)).plain(plane_pair())
    view.depths[0, :5], view.depths[0, 5:8] = np.inf, 0.0
    tensors = (torch.from_numpy(x) for x in (view.depths, view.intrinsics, view.poses))
    truth, _ = pair_truth(*tensors, 50, matches_generator(0, 0, 0))
    assert truth.sky[0, :5].all() and not truth.sky[0, 5:].any()
    assert not truth.valid[0, :8].any() and truth.valid[0, 8:].all()
    assert torch.isfinite(truth.points).all()
    assert (truth.matches[0, truth.matches_valid[0], 1] >= 8).all()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    encoder = load_encoder(ENCODER)
    shape = CacheShape(views=8, grid=(2, 3), channels=48, size=SIZE)
    folder = tmp_path_factory.mktemp("tokens")
    maker = PairViews(size=SIZE)
    build = lambda: build_token_cache(  # noqa: E731
        folder, {"it": 1}, shape, encoder, ToyPairs(), maker, seed=3, norm=False, batch_size=3
    )
    return build, folder, encoder


def test_cached_tokens_and_truth_are_those_of_fresh_views(cache):
    build, _, encoder = cache
    made = build()
    requests = [Request(0, (0, 1), (0, 1), True), Request(1, (2,), (2,))]
    fresh = list(pair_batches(ToyPairs(), PairViews(size=SIZE), requests, seed=3, matches=20, workers=0))
    for batch, rows in zip(fresh, (np.array([0, 1]), np.array([6])), strict=True):
        tokens = encoder(batch.images, norm=False).patches.unflatten(0, (2, -1)).transpose(0, 1)
        torch.testing.assert_close(made.tokens(rows).float(), tokens, atol=4e-3, rtol=4e-3)
        depths, intrinsics, poses = made.truth(int(rows[0]))
        torch.testing.assert_close(poses[1], batch.truth2.camera_to_world[0])
        assert (depths > 0).all() and intrinsics.shape == (2, 3, 3)


def test_an_interrupted_cache_goes_on_and_another_one_is_refused(cache):
    build, folder, encoder = cache
    whole = build().tokens(np.arange(8))
    (folder / "done.json").write_text('{"views": 3}\n')
    assert torch.equal(build().tokens(np.arange(8)), whole)
    shape = CacheShape(views=8, grid=(2, 3), channels=48, size=SIZE)
    with pytest.raises(ConfigError, match=r"tokens of something else \(different: it\)"):
        build_token_cache(
            folder, {"it": 2}, shape, encoder, ToyPairs(), PairViews(size=SIZE), seed=3, norm=False
        )


def test_training_batches_are_the_same_from_any_start(cache):
    batches = cached_batches(cache[0](), batch_size=3, total_steps=6, seed=1, matches=10)
    late, early = next(iter(batches(4))), list(islice(batches(0), 5))[4]
    assert late.names == early.names and len(late) == 3
    assert torch.equal(late.truth1.matches, early.truth1.matches)
    assert torch.equal(late.tokens, early.tokens) and late.tokens.shape == (6, 6, 48)


def test_ranks_share_a_step_of_fresh_views():
    options = {"batch_size": 4, "total_steps": 2, "seed": 1, "matches": 10, "workers": 0}
    maker = PairViews(size=SIZE)
    whole = next(iter(online_batches(ToyPairs(), maker, **options)(1)))
    parts = [
        next(iter(online_batches(ToyPairs(), maker, rank=rank, world_size=2, **options)(1)))
        for rank in range(2)
    ]
    assert [parts[0].names[0], parts[1].names[0]] == list(whole.names[:2])
    torch.testing.assert_close(parts[1].images[0], whole.images[1])
    with pytest.raises(ConfigError, match="multiple of the 3 processes"):
        online_batches(ToyPairs(), maker, world_size=3, **options)


def test_a_step_cut_into_parts_sees_the_same_views():
    options = {"batch_size": 4, "total_steps": 2, "seed": 1, "matches": 10, "workers": 0}
    maker = PairViews(size=SIZE)
    whole = list(online_batches(ToyPairs(), maker, **options)(0))
    parts = list(online_batches(ToyPairs(), maker, accumulate=2, **options)(0))
    assert [len(batch) for batch in parts] == [2] * 4
    for view in (0, 1):
        cut = torch.cat([part.images.chunk(2)[view] for part in parts])
        assert torch.equal(cut, torch.cat([batch.images.chunk(2)[view] for batch in whole]))
    assert torch.equal(
        torch.cat([part.truth1.matches for part in parts]),
        torch.cat([batch.truth1.matches for batch in whole]),
    )
    with pytest.raises(ConfigError, match="multiple of the 1 processes times 3 parts"):
        online_batches(ToyPairs(), maker, accumulate=3, **options)


def test_steps_draw_an_aspect_ratio_that_all_their_ranks_and_parts_share():
    maker = PairViews(size=(14, 28), shapes=((14, 28), (28, 42)))
    options = {"batch_size": 4, "total_steps": 12, "seed": 7, "matches": 10, "workers": 0}
    whole = [tuple(batch.images.shape[2:]) for batch in online_batches(ToyPairs(), maker, **options)(0)]
    assert set(whole) == {(14, 28), (28, 14), (28, 42), (42, 28)}
    again = [tuple(b.images.shape[2:]) for b in online_batches(ToyPairs(), maker, **options)(5)]
    assert again == whole[5:]
    parts = online_batches(ToyPairs(), maker, accumulate=2, rank=1, world_size=2, **options)(0)
    assert [tuple(batch.images.shape[2:]) for batch in parts] == [size for size in whole for _ in range(2)]


def test_too_little_disk_is_said_before_anything_is_written(tmp_path):
    shape = CacheShape(views=10**9, grid=(37, 37), channels=1024, size=(518, 518))
    with pytest.raises(ConfigError, match=r"too little \(.*\)\. Use fewer views"):
        announce(shape, tmp_path)
