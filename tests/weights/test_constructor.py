"""Constructor texts are parsed as data: literals and `inf`, and nothing else."""

import math

import pytest

from codistill.errors import CheckpointError
from codistill.weights.constructor import MAX_LENGTH, parse_constructor


def test_the_published_text() -> None:
    parsed = parse_constructor(
        "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='PatchEmbedDust3R', img_size=(512, 512), "
        "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim=1024, two_confs=True)"
    )
    assert parsed.name == "AsymmetricMASt3R"
    assert parsed.arguments == {
        "pos_embed": "RoPE100",
        "patch_embed_cls": "PatchEmbedDust3R",
        "img_size": (512, 512),
        "depth_mode": ("exp", -math.inf, math.inf),
        "conf_mode": ("exp", 1, math.inf),
        "enc_embed_dim": 1024,
        "two_confs": True,
    }


def test_other_literals() -> None:
    text = "models.Net(a=-1.5e3, b=[1, +2], c={'x': None}, d=(), e=float('inf'), f=np.inf, g=b'x')"
    parsed = parse_constructor(text)
    assert parsed.name == "Net"
    assert parsed.arguments == {
        "a": -1500.0,
        "b": [1, 2],
        "c": {"x": None},
        "d": (),
        "e": math.inf,
        "f": math.inf,
        "g": b"x",
    }


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/x')",
        "Net(a=__import__('os'))",
        "Net(a=open)",
        "Net(a=[x for x in (1, 2)])",
        "Net(a=1 + 1)",
        "Net(1)",
        "Net(**{'a': 1})",
        "Net(a={**b})",
        "Net(a={[]: 1})",
        "Net(a=-'x')",
        "Net",
        "Net(",
        "",
        "Net(a=" + "-" * 5000 + "1)",
        "Net(a=" + "(" * 500 + ")" * 500 + ")",
        "Net(a=float('not a number'))",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"some file: cannot read the constructor text.*Expected NAME\(key=literal"
    ):
        parse_constructor(text, "some file")


def test_endless_texts_are_refused() -> None:
    with pytest.raises(CheckpointError, match="characters long"):
        parse_constructor(f"Net(a='{'x' * MAX_LENGTH}')")
