"""Teachers' own pools on predicted patches, against the pool called by itself."""

import pytest
import torch

from codistill.distill.pooling import pool_predictions
from codistill.distill.targets import TargetConfig, TargetStandardizer
from codistill.encoders.timm_model import TimmViT
from codistill.student.statistics import TargetStatistics
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, Tokens

timm = pytest.importorskip("timm")
ABOUT = {"name": "timm:small", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "image_size": 28, "licence": "mit"}


def encoder(**options: object) -> TimmViT:
    """As timm's SigLIP, small: attention pooling, no class token."""
    torch.manual_seed(0)
    sizes = {"img_size": 28, "patch_size": 7, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    model = timm.models.vision_transformer.VisionTransformer(**sizes, **options)
    return TimmViT(model, ABOUT, "pooled").requires_grad_(False)


def bank() -> TeacherBank:
    pooling = encoder(class_token=False, global_pool="map")
    return TeacherBank([Teacher(TeacherConfig(name="siglip", pool_predictions=True), pooling)], 7)


def test_pool_is_that_of_the_encoder() -> None:
    pooling = encoder(class_token=False, global_pool="map")
    tokens = pooling(torch.randn(2, 3, 28, 28))
    torch.testing.assert_close(pooling.pool(tokens.patches, tokens.grid), tokens.cls)
    average = encoder(class_token=True, global_pool="avg")
    assert not average.pools_patches
    with pytest.raises(NotImplementedError, match="no pool that reads patches alone"):
        average.pool(tokens.patches, tokens.grid)


@pytest.mark.parametrize("rotated", [False, True])
def test_the_teachers_own_patches_give_its_own_summary(rotated: bool) -> None:
    """A student that predicts the targets exactly has no loss of class tokens, whatever the statistics."""
    teachers = bank()
    (spec,) = teachers.target_specs()
    assert spec.pooled and spec.projected == ("patch",)
    statistics = TargetStatistics(dict.fromkeys(spec.kinds, 16), spec.kinds if rotated else ())
    for _, buffers in statistics.by_kind():
        buffers.mean.uniform_(-1, 1), buffers.std.uniform_(0.5, 2)
        if rotated:
            buffers.rotation.copy_(torch.linalg.qr(torch.randn(16, 16))[0])  # type: ignore[union-attr]
    standardizer = TargetStandardizer(TargetConfig(), torch.nn.ModuleDict({"siglip": statistics}))
    raw = teachers(torch.randn(3, 3, 28, 28), {})
    scales = standardizer.kept(raw)
    targets = standardizer.standardize(raw, scales)["siglip"]
    patches = targets.patches.clone().requires_grad_(True)
    predicted = {"siglip": Tokens(patches, targets.grid), "other": targets}
    pooled = pool_predictions(predicted, ["siglip"], teachers, standardizer, scales)
    torch.testing.assert_close(pooled["siglip"].cls, targets.cls, atol=2e-4, rtol=1e-4)
    assert pooled["other"] is targets
    pooled["siglip"].cls.square().sum().backward()
    assert patches.grad is not None and patches.grad.any()
    assert all(p.grad is None for p in teachers.parameters())
