"""Which image stands where: counted, not recomputed."""

from collections import Counter

import numpy as np
import pytest

from codistill.data.mixing import MixConfig, SourceSize
from codistill.data.sampler import MixingSampler, replacement
from codistill.errors import ConfigError, DataError

SOURCES = (
    SourceSize("in1k", "generic", 500),
    SourceSize("dl3dv", "3d", 70),
    SourceSize("wild", "3d", 30),
    SourceSize("bedlam", "human", 40),
)


def draws(sampler: MixingSampler, steps: range) -> list[list[tuple[int, int]]]:
    found = []
    for step in steps:
        slots = sampler.slots(step)
        found.append(list(zip(slots.source.tolist(), slots.item.tolist(), strict=True)))
    return found


def test_balanced_batch_is_published_blocks() -> None:
    step = MixingSampler(SOURCES, MixConfig(), 128, seed=0).slots(3)
    domains = [SOURCES[index].domain for index in step.source]
    assert domains == ["generic"] * 43 + ["3d"] * 43 + ["human"] * 42
    assert step.slot.tolist() == list(range(128))


@pytest.mark.parametrize(
    ("batch", "counts"), [(4, [2, 1, 1]), (3, [1, 1, 1]), (7, [3, 3, 1]), (8, [3, 3, 2])]
)
def test_no_domain_is_left_out_of_a_small_batch(batch: int, counts: list[int]) -> None:
    step = MixingSampler(SOURCES, MixConfig(), batch, seed=0).slots(0)
    found = Counter(SOURCES[index].domain for index in step.source)
    assert [found[domain] for domain in ("generic", "3d", "human")] == counts


def test_each_pass_shows_every_image_once_in_another_order() -> None:
    sampler = MixingSampler(SOURCES, MixConfig(), 30, seed=5)  # 10 of each domain a step
    assert sampler.epoch_steps == 50
    epoch = [pair for step in draws(sampler, range(50)) for pair in step]
    generic = [item for source, item in epoch if source == 0]
    assert sorted(generic) == list(range(500))
    human = [item for source, item in epoch if source == 3]
    passes = [human[start : start + 40] for start in range(0, 480, 40)]
    assert all(sorted(one) == list(range(40)) for one in passes)
    assert len({tuple(one) for one in passes}) == len(passes)
    three = Counter(pair for pair in epoch if pair[0] in (1, 2))
    assert set(three.values()) == {5} and len(three) == 100


def test_order_is_the_same_for_every_world_size_and_start() -> None:
    sampler = MixingSampler(SOURCES, MixConfig(), 24, seed=1)
    whole = draws(sampler, range(40, 44))
    for world_size in (2, 3, 8):
        for step in range(40, 44):
            parts = [sampler.slots(step, rank, world_size) for rank in range(world_size)]
            merged = {}
            for rank, part in enumerate(parts):
                assert part.slot.tolist() == list(range(rank, 24, world_size))
                triples = zip(part.slot.tolist(), part.source.tolist(), part.item.tolist(), strict=True)
                merged |= {slot: (source, item) for slot, source, item in triples}
            assert [merged[slot] for slot in range(24)] == whole[step - 40]
    assert draws(MixingSampler(SOURCES, MixConfig(), 24, seed=2), range(40, 44)) != whole


def test_proportional_is_one_pass_over_everything() -> None:
    sampler = MixingSampler(SOURCES, MixConfig(mode="proportional"), 32, seed=0)
    assert sampler.epoch_steps == 20
    pairs = Counter(pair for step in draws(sampler, range(20)) for pair in step)
    assert len(pairs) == 640 and set(pairs.values()) == {1}


def test_weights_are_kept_in_every_step_and_passes_stay_whole() -> None:
    mix = MixConfig(
        mode="weighted", weights=(("generic", 6.0), ("dl3dv", 3.0), ("wild", 0.5), ("human", 0.5))
    )
    sampler = MixingSampler(SOURCES, mix, 40, seed=0)
    steps = draws(sampler, range(200))
    counts = np.array([np.bincount([source for source, _ in step], minlength=4) for step in steps])
    assert np.abs(counts - [24, 12, 2, 2]).max() <= 2
    np.testing.assert_allclose(counts.mean(axis=0), [24, 12, 2, 2], atol=0.05)
    wild = [item for step in steps for source, item in step if source == 2]
    for start in range(0, len(wild) - 30, 30):
        assert sorted(wild[start : start + 30]) == list(range(30))


def test_a_huge_catalogue_costs_nothing() -> None:
    huge = (
        SourceSize("a", "generic", 18_000_000),
        SourceSize("b", "3d", 1_750_000),
        SourceSize("c", "human", 470_000),
    )
    sampler = MixingSampler(huge, MixConfig(), 8192, seed=0)
    late = sampler.slots(10**9, rank=63, world_size=64)
    assert len(late.slot) == 128 and late.item.max() > 10_000_000
    assert sampler.epoch_steps == -(-18_000_000 // 2731)


def test_replacements_come_from_the_domain_and_depend_on_the_attempt() -> None:
    drawn = [replacement(SOURCES, "3d", 0, 5, 7, attempt) for attempt in range(1, 200)]
    assert {source for source, _ in drawn} == {1, 2}
    assert len(set(drawn)) > 60
    assert drawn[3] == replacement(SOURCES, "3d", 0, 5, 7, 4)
    share = np.mean([source == 1 for source, _ in drawn])
    assert abs(share - 0.7) < 0.12  # by number of images


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'weighted'"):
        MixConfig(mode="weihgted")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weights belong to mode 'weighted'"):
        MixConfig(weights=(("generic", 1.0),))
    with pytest.raises(ConfigError, match="must be positive"):
        MixConfig(mode="weighted", weights=(("generic", 0.0),))
    with pytest.raises(ConfigError, match="Did you mean 'bedlam'"):
        MixingSampler(SOURCES, MixConfig(mode="weighted", weights=(("bedlan", 1.0),)), 8, 0)
    weights = (("generic", 1.0), ("dl3dv", 1.0), ("human", 1.0))
    with pytest.raises(ConfigError, match="not so for wild"):
        MixingSampler(SOURCES, MixConfig(mode="weighted", weights=weights), 8, 0)
    with pytest.raises(ConfigError, match="cannot hold the 3 domains"):
        MixingSampler(SOURCES, MixConfig(), 2, 0)
    with pytest.raises(DataError, match="without images: empty"):
        MixingSampler((SourceSize("empty", "generic", 0),), MixConfig(), 2, 0)
