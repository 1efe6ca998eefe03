"""Projectors: golden ladder, transformer by hand, what each reads, errors."""

import pytest
import torch
from safetensors.torch import load_file

from codistill.errors import ConfigError
from codistill.student.projectors import (
    LadderProjector,
    MlpProjector,
    ProjectorConfig,
    StudentShape,
    TransformerProjector,
)
from codistill.types import Tokens
from shared_files import golden

SHAPE = StudentShape(dim=16, depth=4, num_heads=2)


def tokens(batch: int = 2, dim: int = 16, cls: bool = True) -> Tokens:
    torch.manual_seed(batch)
    return Tokens(
        patches=torch.randn(batch, 6, dim),
        grid=(2, 3),
        cls=torch.randn(batch, dim) if cls else None,
        normed=False,
    )


def test_transformer_is_one_block_and_a_linear() -> None:
    projector, given = TransformerProjector(ProjectorConfig(), SHAPE, 10, ("patch",)), tokens()
    x = torch.cat((given.cls[:, None], given.patches), dim=1)  # type: ignore[index]
    wanted = projector.linear(projector.blocks[0](x))
    out = projector([given])
    torch.testing.assert_close(out.cls, wanted[:, 0])
    torch.testing.assert_close(out.patches, wanted[:, 1:])
    assert projector([tokens(cls=False)]).cls is None
    assert projector.blocks[0].attn.num_heads == 2


def test_ladder_sums_its_rungs_and_uses_the_published_widths() -> None:
    config = ProjectorConfig(kind="ladder", blocks=(1, 3))
    ladder = LadderProjector(config, SHAPE, 10, ("cls", "patch"))
    outputs = [tokens(2), tokens(3)]
    outputs[1] = tokens(2)
    wanted = sum(
        rung(t.patches)
        for rung, t in zip(ladder.get_submodule("patch").values(), outputs, strict=True)  # type: ignore[attr-defined]
    )
    torch.testing.assert_close(ladder(outputs).patches, wanted)
    shapes = {name: tuple(p.shape) for name, p in ladder.named_parameters() if name.endswith("0.weight")}
    assert shapes["patch.1.layers.0.weight"] == (768, 16)
    assert shapes["cls.3.layers.0.weight"] == (3072, 16)


def test_mlp_stands_on_the_last_block() -> None:
    config = ProjectorConfig(kind="mlp")
    assert config.student_blocks(4) == (3,)
    projector = MlpProjector(config, SHAPE, 10, ("patch",))
    assert projector.get_parameter("patch.3.layers.0.weight").shape == (64, 16)
    out = projector([tokens()])
    assert out.cls is None
    assert out.patches.shape == (2, 6, 10)


def test_cls_only_teacher() -> None:
    out = MlpProjector(ProjectorConfig(kind="mlp"), SHAPE, 10, ("cls",))([tokens()])
    assert out.cls is not None
    assert out.cls.shape == (2, 10)
    assert out.patches.shape == (2, 0, 10)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kind": "lader"}, r"Did you mean 'ladder'\?.* file\.py:NAME will do"),
        ({"kind": "ladder", "blocks": (2, 1)}, "increasing"),
        ({"num_blocks": 0}, "1 or more"),
    ],
)
def test_bad_configs(arguments: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ProjectorConfig(**arguments)
    with pytest.raises(ConfigError, match=r"ladder blocks .* 4 blocks"):
        ProjectorConfig(kind="ladder", blocks=(1, 7)).student_blocks(4)


def test_ladder_golden() -> None:
    data = load_file(golden("unic_ladder.safetensors"))
    for group in {key.split("/")[0] for key in data}:
        part = {key.split("/", 1)[1]: value for key, value in data.items() if key.startswith(f"{group}/")}
        weights = {k.removeprefix("weights/heads."): v for k, v in part.items() if k.startswith("weights/")}
        for teacher in sorted({key.split(".")[0] for key in weights}):
            own = {k.split(".", 1)[1]: v for k, v in weights.items() if k.startswith(f"{teacher}.")}
            blocks = tuple(sorted({int(k.split(".")[1]) for k in own}))
            depth = sum(k.startswith("cls_after_block_") for k in part) - 1
            widths = {int(k.split(".")[1]): v.shape[0] for k, v in own.items() if k.endswith("0.weight")}
            config = ProjectorConfig(
                kind="ladder", blocks=blocks, hidden=widths[blocks[0]], last_hidden=widths[blocks[-1]]
            )
            dim, out = own[f"cls.{blocks[0]}.layers.0.weight"].shape[1], part[f"out_{teacher}_cls"].shape[1]
            ladder = LadderProjector(
                config, StudentShape(dim=dim, depth=depth, num_heads=1), out, ("cls", "patch")
            )
            ladder.load_state_dict(own)
            outputs = [
                Tokens(
                    patches=part[f"patch_after_block_{b + 1}_0_is_embedding"],
                    cls=part[f"cls_after_block_{b + 1}_0_is_embedding"],
                    grid=(1, part["patch_after_block_1_0_is_embedding"].shape[1]),
                    normed=False,
                )
                for b in blocks
            ]
            result = ladder(outputs)
            for kind in ("cls", "patch"):
                wanted = part[f"out_{teacher}_{kind}"]
                error = (result.of_kind(kind) - wanted).abs().max() / wanted.abs().max()  # type: ignore[operator]
                assert error < 5e-6, (group, teacher, kind, error)
