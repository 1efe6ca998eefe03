"""Windowed attention against windows cut out and run by hand."""

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.blocks import Block
from codistill.nn.rope import cached_grid_tables
from codistill.nn.vit import ViTConfig
from codistill.nn.windows import global_blocks, in_windows, spans

SMALL = {"dim": 16, "depth": 4, "num_heads": 2, "patch_size": 7, "image_size": 28, "num_registers": 2}


def network(**options: object) -> ViTEncoder:
    torch.manual_seed(0)
    encoder = ViTEncoder(ViTConfig(**{**SMALL, **options}))  # type: ignore[arg-type]
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return encoder.eval()


def test_axes_are_cut_evenly() -> None:
    assert spans(10, 4) == [(0, 3), (3, 6), (6, 10)]
    assert spans(8, 4) == [(0, 4), (4, 8)]
    assert spans(3, 4) == [(0, 3)]
    for length in range(1, 40):
        for side in range(1, 12):
            sizes = [stop - start for start, stop in spans(length, side)]
            assert sum(sizes) == length and max(sizes) <= side and max(sizes) - min(sizes) <= 1


def test_global_blocks_are_evenly_spread_and_hold_the_last() -> None:
    assert sorted(global_blocks(12, 4)) == [2, 5, 8, 11]
    assert sorted(global_blocks(24, 4)) == [5, 11, 17, 23]
    assert sorted(global_blocks(5, 2)) == [2, 4]


def test_a_windowed_block_is_the_block_on_each_window() -> None:
    """A grid of 5 x 7 in windows of at most 4: 2 x 2 of them, of three shapes; prefix tokens by a loop."""
    torch.manual_seed(1)
    block, prefix, grid = Block(16, 2, 32).eval(), 3, (5, 7)
    x = torch.randn(2, prefix + 35, 16)
    found = in_windows(block, x, grid, 4, lambda _: None)
    patches = x[:, prefix:].reshape(2, 5, 7, 16)
    wanted, heads = torch.zeros_like(patches), []
    for top, bottom in ((0, 2), (2, 5)):
        for left, right in ((0, 3), (3, 7)):
            part = patches[:, top:bottom, left:right].reshape(2, -1, 16)
            out = block(torch.cat((x[:, :prefix], part), dim=1))
            heads.append(out[:, :prefix])
            wanted[:, top:bottom, left:right] = out[:, prefix:].reshape(2, bottom - top, right - left, 16)
    torch.testing.assert_close(found[:, prefix:], wanted.reshape(2, 35, 16), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[:, :prefix], torch.stack(heads).mean(0), atol=1e-5, rtol=1e-5)


def test_positions_within_a_window_serve_as_well_as_those_of_the_image() -> None:
    """Under RoPE attention depends on differences of positions alone."""
    torch.manual_seed(2)
    block = Block(16, 2, 32).eval()
    x = torch.randn(1, 16, 16)
    found = in_windows(block, x, (4, 4), 2, lambda s: cached_grid_tables(*s, 8, 100.0, x.device, 0))
    cos, sin = cached_grid_tables(4, 4, 8, 100.0, x.device, 0)
    rows = torch.arange(16).reshape(4, 4)[2:, 2:].flatten()  # the last window, at its place in the image
    wanted = block(x[:, rows], (cos[rows], sin[rows]))
    torch.testing.assert_close(found[:, rows], wanted, atol=1e-5, rtol=1e-5)


def test_the_network_runs_windows_between_global_blocks() -> None:
    plain, windowed = network(), network(window=2, num_global=2)
    images = torch.randn(1, 3, 28, 35)
    x, grid, _ = plain.embed(images)
    x = in_windows(plain.blocks[0], x, grid, 2, lambda _: None)
    x = plain.blocks[1](x)
    x = plain.blocks[3](in_windows(plain.blocks[2], x, grid, 2, lambda _: None))
    tokens = windowed(images)
    torch.testing.assert_close(tokens.patches, plain.norm(x)[:, 3:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(windowed.intermediate(images, [-1])[0].cls, tokens.cls)
    assert not torch.allclose(plain(images).patches, tokens.patches)
    assert torch.equal(network(window=5)(images).patches, plain(images).patches)  # one window holds it all


def test_gradients_reach_every_token_and_weight() -> None:
    encoder = network(window=2, num_global=1)
    images = torch.randn(1, 3, 28, 28, requires_grad=True)
    encoder(images).patches.square().sum().backward()
    assert images.grad.abs().amin(1).gt(0).float().mean() > 0.99
    assert all(p.grad is not None for n, p in encoder.named_parameters() if n != "mask_token")


def test_attention_maps_are_of_global_blocks() -> None:
    encoder, images = network(window=2, num_global=2), torch.randn(1, 3, 28, 28)
    assert encoder.attention_map(images).shape == (1, 2, 19, 19)
    with pytest.raises(ConfigError, match=r"block 0 attends within windows; .*\[1, 3\]"):
        encoder.attention_map(images, 0)


def test_windows_are_an_option_of_any_of_our_encoders() -> None:
    name = "random:vit_tiny,dim=16,num_heads=2,depth=4,patch_size=7,num_registers=2"
    plain, windowed = load_encoder(name), load_encoder(f"{name},window=2,num_global=2")
    assert windowed.architecture() == {**plain.architecture(), "window": 2, "num_global": 2}
    images = torch.randn(1, 3, 28, 28)
    folded = load_encoder(f"{name},window=2,num_global=2,precision=fp32")
    torch.testing.assert_close(folded(images).patches, windowed(images).patches, atol=1e-4, rtol=1e-4)


def test_a_file_takes_windows(tmp_path) -> None:
    network().save_pretrained(tmp_path / "folder")
    encoder = load_encoder(f"{tmp_path}/folder,window=2")
    images = torch.randn(1, 3, 28, 28)
    torch.testing.assert_close(encoder(images).patches, network(window=2)(images).patches)
    assert load_encoder(str(tmp_path / "folder"), window=2, num_global=1).config.num_global == 1
    with pytest.raises(ConfigError, match="num_global would have no effect without window"):
        load_encoder(f"{tmp_path}/folder,num_global=2")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": -1}, "window must be 0 or more"),
        ({"window": 2, "num_global": 5}, "num_global 5 is more than the 4 blocks"),
        ({"window": 2, "position": "rope"}, "window needs learned positions here"),
    ],
)
def test_windows_that_cannot_be_are_refused(options: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        ViTConfig(**{**SMALL, **options})  # type: ignore[arg-type]
