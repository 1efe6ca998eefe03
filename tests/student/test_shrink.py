"""Shrinking an encoder that is a narrow one in disguise gives that one back; real weights keep what they say."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, DataError
from codistill.nn.blocks import LayerScale
from codistill.nn.moments import RidgeSums
from codistill.nn.vit import ViTConfig
from codistill.student.shrink import shrink
from shared_files import photographs, weights

NARROW = ViTConfig(dim=16, depth=2, num_heads=2, patch_size=7, image_size=28, layer_scale=1.0)


def images(count: int, seed: int, size: int = 28) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def centred_rows(weight: Tensor) -> Tensor:
    return weight - weight.mean(0, keepdim=True)


@torch.no_grad()
def disguised(config: ViTConfig) -> ViTEncoder:
    """A network of twice the width whose stream never leaves a random subspace of `config.dim - 1` directions.

    Half of its heads and hidden units compute something and give nothing; LayerNorm's weights, LayerScale and the
    registers are random.
    """
    torch.manual_seed(0)
    wide_config = replace(
        config, dim=2 * config.dim, num_heads=2 * config.num_heads, hidden=2 * config.hidden_size
    )
    wide = ViTEncoder(wide_config)
    dim = config.dim
    # Orthogonal to equal channels; one direction less than there are channels, since LayerNorm takes one out.
    basis = torch.linalg.qr(centred_rows(torch.randn(2 * dim, dim - 1)))[0]
    for name, parameter in wide.named_parameters():
        if "norm" in name or "gamma" in name:
            parameter.copy_(0.5 + torch.rand_like(parameter))
        else:
            parameter.copy_(0.4 * torch.randn_like(parameter))
        if name in ("cls_token", "register_tokens", "pos_embed", "mask_token"):
            parameter.copy_(parameter @ basis @ basis.T)
    embedding = wide.patch_embed.proj
    inside = basis @ basis.T
    embedding.weight.copy_(torch.einsum("oc,cixy->oixy", inside, embedding.weight))
    assert embedding.bias is not None
    embedding.bias.copy_(inside @ embedding.bias)
    for block in wide.blocks:
        last = block.mlp.fc2 if config.feed_forward == "gelu" else block.mlp.w3
        for layer, scale in ((block.attn.proj, block.ls1), (last, block.ls2)):
            gamma = scale.gamma if isinstance(scale, LayerScale) else torch.ones(2 * dim)
            layer.weight.copy_((inside @ layer.weight) / gamma[:, None])
            layer.bias.copy_((inside @ layer.bias) / gamma)
        head = block.attn.proj.weight.unflatten(1, (2 * config.num_heads, -1))
        head[:, ::2] = 0.0
        last.weight[:, 1::2] = 0.0
    return wide


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layer_scale": None, "num_registers": 2},
        {"feed_forward": "swiglu", "hidden": 24},
        {"position": "rope", "has_cls": False, "has_mask_token": False},
    ],
    ids=["dinov2", "registers", "swiglu", "rope"],
)
def test_a_narrow_network_in_disguise_is_found(changes: dict[str, object]) -> None:
    wide = disguised(replace(NARROW, **changes))
    result = shrink(wide, [images(40, 1), images(40, 2)], num_heads=2, teacher="wide")
    narrow = result.encoder
    assert (narrow.config.dim, narrow.config.num_heads, narrow.config.depth) == (16, 2, 2)
    assert result.kept == pytest.approx(1.0, abs=1e-4)
    assert max(result.unexplained) < 1e-4
    new = images(3, 3)
    with torch.no_grad():
        expected, found = (model(new, norm=False) for model in (wide, narrow))
    assert found.patches.shape == (3, 16, 16)
    for token in ("patches", "cls"):
        x, y = getattr(expected, token), getattr(found, token)
        if x is not None:  # the same lengths and angles: the same tokens in another basis
            x, y = x.flatten(0, -2), y.flatten(0, -2)
            torch.testing.assert_close(y @ y.T, x @ x.T, rtol=2e-2, atol=2e-2 * float((x @ x.T).abs().max()))


def test_its_projector_gives_the_wide_encoders_tokens() -> None:
    wide = disguised(NARROW)
    student = shrink(wide, [images(200, 1)], num_heads=2, teacher="wide").student
    new = images(20, 3)
    with torch.no_grad():
        expected = wide(new)
        found = student.project(student.encoder(new, norm=False), "wide", denormalize=True)
    assert expected.cls is not None and found.cls is not None
    spread = expected.patches.std((0, 1))
    missed = ((found.patches - expected.patches) / spread).square().mean()
    assert missed < 0.4  # a linear map cannot undo a norm; guessing the mean misses 1
    torch.testing.assert_close(
        student.target_statistics["wide"].of_kind("patch").std,
        wide(images(200, 1)).patches.std((0, 1)),
        rtol=1e-2,
        atol=1e-3,
    )


def readout(encoder: ViTEncoder, teacher: ViTEncoder, fit: Tensor, held: Tensor) -> float:
    """Share of the variance of the teacher's patch tokens that a linear map of the encoder's misses, held out."""
    with torch.no_grad():
        inputs, targets, new, wanted = (
            nn.functional.layer_norm(model(x, norm=False).patches, (model.config.dim,))
            for x in (fit, held)
            for model in (encoder, teacher)
        )
    sums = RidgeSums(dtype=torch.float32)
    sums.add(inputs.flatten(0, 1), targets.flatten(0, 1))
    weight, bias = sums.solve(1e-3 * sums.variance())
    missed = (new @ weight + bias - wanted).square().sum()
    return float(missed / (wanted - wanted.mean((0, 1))).square().sum())


@pytest.mark.slow
def test_real_tokens_can_be_read_from_the_narrow_ones() -> None:
    teacher = load_encoder(str(weights()))
    assert isinstance(teacher, ViTEncoder)
    chosen = teacher.preprocess(photographs("*/*.jpg"), size=(70, 70))
    held, fit = chosen[::5], torch.cat([chosen[start::5] for start in range(1, 5)])
    narrow = shrink(teacher, list(fit.split(16)), num_heads=3, teacher="wide").encoder
    random = load_encoder("random:vit_tiny")
    assert isinstance(random, ViTEncoder)
    missed, by_chance = (readout(model, teacher, fit, held) for model in (narrow, random))
    assert missed < 0.75 * by_chance


@pytest.mark.parametrize("heads", [0, 4, 5])
def test_heads_that_do_not_shrink_are_refused(heads: int) -> None:
    with pytest.raises(ConfigError, match="has 4 heads: it can keep 1 to 3"):
        shrink(disguised(NARROW), [images(40, 1)], num_heads=heads, teacher="wide")


def test_images_that_do_not_suffice_are_refused() -> None:
    wide = disguised(NARROW)
    with pytest.raises(DataError, match="3 images are too few to fit layers of 64 inputs: give at least 16"):
        shrink(wide, [images(3, 1)], num_heads=2, teacher="wide")
    with pytest.raises(DataError, match="there are none"):
        shrink(wide, [], num_heads=2, teacher="wide")
    with pytest.raises(DataError, match="of one size"):
        shrink(wide, [images(20, 1), images(20, 1, size=42)], num_heads=2, teacher="wide")


def test_the_native_size_is_another_than_the_images() -> None:
    wide = disguised(NARROW)
    narrow = shrink(wide, [images(40, 1)], num_heads=2, teacher="wide", image_size=42).encoder
    assert narrow.config.image_size == 42
    assert narrow.pos_embed.shape == (1, 1 + 36, 16)
