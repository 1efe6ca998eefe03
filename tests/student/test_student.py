"""The student: rows, denormalization, what it refuses."""

import pytest
import torch

from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.vit import ViTConfig
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.types import TargetSpec

TARGETS = (TargetSpec(name="a", dim=10), TargetSpec(name="b", dim=6, kinds=("patch",)))


def student(kind: str = "transformer") -> Student:
    torch.manual_seed(0)
    encoder = ViTEncoder(
        ViTConfig(dim=32, depth=3, num_heads=2, patch_size=7, image_size=28, num_registers=2)
    )
    return Student(encoder, TARGETS, ProjectorConfig(kind=kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["transformer", "ladder", "mlp"])
def test_rows_choose_images_and_change_nothing_else(kind: str) -> None:
    model, images = student(kind).eval(), torch.randn(4, 3, 28, 28)
    everything = model(images)
    some = model(images, {"a": slice(1, 3), "b": torch.tensor([3, 0])})
    torch.testing.assert_close(some["a"].cls, everything["a"].cls[1:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(some["b"].patches, everything["b"].patches[[3, 0]], atol=1e-5, rtol=1e-5)


def test_project_equals_forward_and_denormalize_inverts_standardize() -> None:
    model, images = student().eval(), torch.randn(2, 3, 28, 28)
    statistics = model.target_statistics["a"]["patch"]  # type: ignore[index]
    statistics.mean.copy_(torch.arange(10.0))  # type: ignore[union-attr]
    statistics.std.fill_(2.0)  # type: ignore[union-attr]
    tokens = model.encoder(images, norm=False)
    standardized, own_space = model.project(tokens, "a"), model.project(tokens, "a", denormalize=True)
    torch.testing.assert_close(model(images)["a"].patches, standardized.patches)
    torch.testing.assert_close((own_space.patches - torch.arange(10.0)) / 2, standardized.patches)
    again = model.project(tokens.to(torch.float64), "a")  # of an encoder in another precision
    assert torch.equal(again.patches, standardized.patches)


def test_refusals() -> None:
    model, images = student(), torch.randn(1, 3, 28, 28)
    with pytest.raises(ValueError, match="norm=False"):
        model.project(model.encoder(images), "a")
    with pytest.raises(ConfigError, match="Known: a, b"):
        model.project(model.encoder(images, norm=False), "c")
    with pytest.raises(ValueError, match=r"blocks \(0, 1, 2\)"):
        student("ladder").project(model.encoder(images, norm=False), "a")
    with pytest.raises(ConfigError, match="must differ"):
        Student(model.encoder, (TARGETS[0], TARGETS[0]))
    with pytest.raises(ConfigError, match="dot"):
        Student(model.encoder, (TargetSpec(name="a.b", dim=3),))


def test_unused_parameters_are_frozen() -> None:
    frozen = {name for name, parameter in student().named_parameters() if not parameter.requires_grad}
    assert frozen == {"encoder.mask_token", "encoder.norm.weight", "encoder.norm.bias"}
