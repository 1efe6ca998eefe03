"""An encoder with the head: what does not fit, what is frozen, any encoder in front, any image size."""

import pytest
import torch
from people_toys import SMALL, made_cameras, made_head
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.model import HumanMeshModel
from codistill.nn.vit import ViTConfig
from codistill.types import EncoderSpec, Tokens

CELLS = PersonCells.of(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([2, 0]))


def vit() -> ViTEncoder:
    torch.manual_seed(0)
    return ViTEncoder(ViTConfig(dim=24, depth=2, num_heads=2, patch_size=14, image_size=84, num_registers=2))


class Convolution(Encoder):
    """An encoder without class token or norm: what a user might bring."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = EncoderSpec(name="mine", dim=24, patch_size=14, has_cls=False)
        self.layer = nn.Conv2d(3, 24, 14, 14)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        found = self.layer(images)
        return Tokens(found.flatten(2).transpose(1, 2), (found.shape[2], found.shape[3]), normed=norm)


@pytest.mark.parametrize("encoder", [vit(), Convolution()])
@pytest.mark.parametrize("size", [(84, 84), (112, 84)])
def test_any_encoder_at_any_size(encoder: Encoder, size: tuple[int, int]) -> None:
    model = HumanMeshModel(encoder, made_head())
    output = model(torch.randn(2, 3, *size), made_cameras(2), CELLS)
    assert output.score_logits.shape == (2, size[0] // 14, size[1] // 14)
    assert output.people.rotmat.isfinite().all()


def test_the_encoder_is_frozen_unless_it_is_not() -> None:
    for freeze in (True, False):
        encoder = vit()
        model = HumanMeshModel(encoder, made_head(), freeze_encoder=freeze).train()
        assert encoder.training is not freeze and model.head.training
        output = model(torch.randn(2, 3, 84, 84), made_cameras(2), CELLS)
        (output.score_logits.sum() + output.people.pose_6d.square().sum()).backward()
        found = [name for name, p in encoder.named_parameters() if p.grad is not None]
        assert bool(found) is not freeze


def test_an_encoder_that_does_not_fit_is_named() -> None:
    encoder = ViTEncoder(ViTConfig(dim=32, depth=1, num_heads=2, patch_size=16, image_size=64))
    with pytest.raises(
        ConfigError, match=r"encoder of 24 channels and patch size 14; .* 32 channels and patch size 16"
    ):
        HumanMeshModel(encoder, made_head(SMALL))
