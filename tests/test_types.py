"""`Tokens` as an object: what it prints, how it is cut and moved, and that torch's tools walk through it."""

import io

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

import codistill
from codistill.types import Tokens


@pytest.fixture
def tokens() -> Tokens:
    draw = torch.Generator().manual_seed(0)
    return Tokens(
        patches=torch.randn(3, 6, 4, generator=draw),
        grid=(2, 3),
        cls=torch.randn(3, 4, generator=draw),
        registers=torch.randn(3, 2, 4, generator=draw),
        normed=False,
    )


def test_it_prints_shapes_not_numbers(tokens: Tokens) -> None:
    assert repr(tokens) == (
        "Tokens(patches=(3, 6, 4), cls=(3, 4), registers=(3, 2, 4), grid=(2, 3), normed=False, float32, cpu)"
    )
    assert "cls=None" in repr(Tokens(patches=tokens.patches, grid=(2, 3)))


def test_indexing_goes_over_the_batch(tokens: Tokens) -> None:
    assert len(tokens) == 3 and [len(one) for one in tokens] == [1, 1, 1]
    for index, rows in (
        (1, [1]),
        (-1, [2]),
        (np.int64(1), [1]),
        (torch.tensor(-1), [2]),
        ([], []),
        (slice(0, 2), [0, 1]),
        ([2, 0], [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
    ):
        found = tokens[index]
        assert torch.equal(found.patches, tokens.patches[rows]) and torch.equal(found.cls, tokens.cls[rows])
        assert torch.equal(found.registers, tokens.registers[rows])
        assert (found.grid, found.normed) == ((2, 3), False)
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="batch of 3"):
            tokens[wrong]


def test_moving_keeps_everything_but_dtype_and_device(tokens: Tokens) -> None:
    half = tokens.to(torch.float16)
    assert {half.patches.dtype, half.cls.dtype, half.registers.dtype} == {torch.float16} and not half.normed
    assert tokens.to("meta").patches.is_meta and torch.equal(tokens.cpu().cls, tokens.cls)
    without = Tokens(patches=tokens.patches, grid=(2, 3)).to(torch.float64)
    assert without.cls is None and without.patches.dtype == torch.float64


def test_it_is_a_tree_of_its_tensors(tokens: Tokens) -> None:
    leaves, spec = pytree.tree_flatten(tokens)
    assert [tuple(leaf.shape) for leaf in leaves] == [(3, 6, 4), (3, 4), (3, 2, 4)]
    doubled = pytree.tree_map(lambda tensor: 2 * tensor, tokens)
    assert isinstance(doubled, Tokens) and torch.equal(doubled.cls, 2 * tokens.cls) and not doubled.normed
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


def test_an_encoder_exports_with_tokens_as_its_output() -> None:
    encoder = codistill.load_encoder(
        "random:vit_tiny,dim=32,depth=2,num_heads=2,num_registers=1,image_size=28"
    )
    images = torch.randn(2, 3, 28, 42)
    exported = torch.export.export(encoder, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    buffer.seek(0)
    more = torch.randn(3, 3, 28, 42)
    found, expected = torch.export.load(buffer).module()(more), encoder(more)
    assert isinstance(found, Tokens) and (found.grid, found.normed) == ((2, 3), True)
    for name in ("patches", "cls", "registers"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
