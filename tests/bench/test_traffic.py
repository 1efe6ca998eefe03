"""Bytes beside the products, against counting by hand."""

import pytest

from codistill.bench.traffic import BlockShape, block_traffic

SMALL = BlockShape(images=4, tokens=16, dim=64, heads=4)
STREAM = 2 * 4 * 16 * 64
"""Bytes of the residual stream in bf16."""


def test_a_frozen_block_moves_two_norms_and_two_sums() -> None:
    found = block_traffic(SMALL, frozen=True)
    statistics = 2 * 2 * 4 * 16 * 4  # mean and deviation of each token, fp32, of two norms
    assert found == {"native_layer_norm": 2 * 2 * STREAM + statistics, "add": 2 * 3 * STREAM}


def test_a_rotation_reads_and_writes_queries_and_keys_once() -> None:
    rotated = BlockShape(images=4, tokens=16, dim=64, heads=4, layer_scale=False, rotated=True)
    rotation = 2 * 2 * STREAM + 16 * 16 * 16 * 2  # queries and keys, and a matrix for each token
    assert block_traffic(rotated, frozen=True) == {**block_traffic(SMALL, frozen=True), "bmm": rotation}


@pytest.mark.parametrize(("layer_scale", "stream"), [(True, 2 * STREAM), (False, STREAM)])
def test_under_autocast_the_factors_of_layer_scale_promote_the_stream(layer_scale: bool, stream: int) -> None:
    found = block_traffic(
        BlockShape(images=4, tokens=16, dim=64, heads=4, layer_scale=layer_scale), frozen=False
    )
    if layer_scale:
        assert found["addcmul"] == 2 * (3 * stream + 64 * 4)  # autocast casts the branch, too
    else:
        assert found["add"] == 2 * 3 * stream
    assert found["gelu_"] == 2 * 4 * STREAM
    assert found["cast of activations"] >= 2 * 3 * STREAM
