"""An encoder with a head: frozen means frozen, each image is encoded once, misfits are named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from codistill.encoders.vit import ViTEncoder
from codistill.errors import CheckpointError, ConfigError
from codistill.heads.two_view.model import TwoViewModel, load_two_view
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.nn.vit import ViTConfig
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, Tokens
from shared_files import GOLDEN, needs_golden

HEAD = {"level_dims": (4, 4, 4, 4), "fusion_dim": 4, "middle_dim": 4, "last_dim": 4, "local_hidden": 8}


class CountingEncoder(ViTEncoder):
    """Counts the images it encodes."""

    seen = 0

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        self.seen += len(images)
        return super().encode(images, norm)


def make_model(*, fresh_norm: bool = True, freeze_encoder: bool = True) -> TwoViewModel:
    torch.manual_seed(0)
    encoder = CountingEncoder(
        ViTConfig(dim=24, depth=2, num_heads=2, patch_size=14, image_size=56, num_registers=2, drop_path=0.5)
    )
    config = TwoViewConfig(
        encoder_dim=24,
        patch_size=14,
        fresh_norm=fresh_norm,
        dim=16,
        depth=2,
        num_heads=2,
        descriptor_dim=4,
        **HEAD,
    )  # type: ignore[arg-type]
    return TwoViewModel(encoder, TwoViewHead(config), freeze_encoder=freeze_encoder)


def images(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(seed))


def test_a_frozen_encoder_gets_no_gradient_and_stays_in_evaluation_mode() -> None:
    model = make_model().train()
    assert model.head.training and not model.encoder.training
    assert not any(block.training for block in model.encoder.modules())
    first, second = model(images(28, 42), images(42, 28, 1))
    (first.points.sum() + second.points.sum()).backward()
    assert all(p.grad is None and not p.requires_grad for p in model.encoder.parameters())
    assert any(p.grad is not None for p in model.head.parameters())


def test_an_unfrozen_encoder_is_trained() -> None:
    model = make_model(freeze_encoder=False).train()
    assert model.encoder.training
    model(images(28, 28), images(28, 28, 1))[0].points.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())


def test_symmetrized_pairs_encode_each_image_once() -> None:
    model = make_model().eval()
    a, b = images(28, 42), images(28, 42, 1)
    found = model(a, b, symmetrize=True)
    assert model.encoder.seen == 4  # type: ignore[attr-defined]
    for both, *orders in zip(found, model(a, b), model(b, a), strict=True):
        torch.testing.assert_close(both.points, torch.cat([one.points for one in orders]))
        torch.testing.assert_close(both.descriptors, torch.cat([one.descriptors for one in orders]))


@pytest.mark.parametrize("fresh_norm", [True, False])
def test_tokens_come_as_the_head_wants_them(fresh_norm: bool) -> None:
    model = make_model(fresh_norm=fresh_norm)
    tokens = model.encode(images(28, 28))
    assert tokens.normed is not fresh_norm
    model(images(28, 28), images(28, 28, 1))


def test_an_encoder_that_does_not_fit_is_named() -> None:
    model = make_model()
    other = ViTEncoder(ViTConfig(dim=32, depth=1, num_heads=2, patch_size=16, image_size=32), name="other")
    with pytest.raises(
        ConfigError, match=r"24 channels and patch size 14; other has 32 channels and patch size 16"
    ):
        TwoViewModel(other, model.head)


def imagenet_normalized(half: Tensor) -> Tensor:
    """Images in [-1, 1] as callers of an `Encoder` bring them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (half * 0.5 + 0.5 - mean) / std


@needs_golden
@pytest.mark.parametrize(
    ("stem", "encoder"),
    [("mast3r_nano", None), ("dunemast3r_nano", GOLDEN / "dunemast3r_nano_encoder.safetensors")],
)
def test_released_files_load_whole_and_convert_the_normalization_themselves(
    stem: str, encoder: Path | None
) -> None:
    model = load_two_view(GOLDEN / f"{stem}_released_layout.pth", encoder=encoder)
    recorded = load_file(GOLDEN / f"{stem}_forward.safetensors")
    pair = min(name.split("/")[0] for name in recorded)
    with torch.inference_mode():
        first, second = model(*(imagenet_normalized(recorded[f"{pair}/image{view}"]) for view in (1, 2)))
    # One more rounding (the renormalization) than in the recorded run.
    torch.testing.assert_close(first.points, recorded[f"{pair}/view1/pts3d"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second.confidence, recorded[f"{pair}/view2/conf"], rtol=1e-4, atol=1e-4)


@needs_golden
def test_a_decoder_whose_encoder_is_unknown_asks_for_it() -> None:
    with pytest.raises(CheckpointError, match=r"encoder 'dune_nano_encoder', which is not.*encoder=PATH"):
        load_two_view(GOLDEN / "dunemast3r_nano_released_layout.pth")
