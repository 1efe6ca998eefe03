"""What each precision of a teacher runs: as it is, folded, or under autocast."""

import pytest
import torch

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.seeded import seeded_encoder
from codistill.nn import precision as nn_precision
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import EncoderSpec, Tokens

TINY = "random:vit_tiny,dim=48,depth=2,num_heads=3"


class Foreign(Encoder):
    """A network of another library."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 48)
        self.spec = EncoderSpec(name="foreign", dim=48, patch_size=14, has_cls=False)
        self.seen: list[torch.dtype] = []

    def encode(self, images: torch.Tensor, norm: bool = True) -> Tokens:
        x = self.layer(images[:, :, ::14, ::14].flatten(2).transpose(1, 2))
        self.seen.append(x.dtype)
        return Tokens(x, (images.shape[-2] // 14, images.shape[-1] // 14), normed=norm)


def made(precision: str, encoder: Encoder | None = None, step: str | None = None) -> Teacher:
    config = TeacherConfig(name="t", precision=precision)  # type: ignore[arg-type]
    return Teacher(config, encoder or seeded_encoder(TINY), step=step)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "step", "frozen"),
    [
        ("same", "fp32", None),
        ("same", "auto", None),
        ("same", "bf16", "bf16"),
        ("same", None, None),
        ("fp32", "bf16", None),
        ("bf16", "fp32", "bf16"),
        ("autocast", "fp32", None),
    ],
)
def test_which_network_runs(precision: str, step: str | None, frozen: str | None) -> None:
    encoder = made(precision, step=step).encoder
    assert (encoder.precision if isinstance(encoder, FrozenViTEncoder) else None) == frozen


def test_auto_takes_bf16_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for faster in (True, False):
        monkeypatch.setattr(nn_precision, "bf16_is_faster", lambda faster=faster: faster)
        assert isinstance(made("auto").encoder, FrozenViTEncoder) == faster


def test_targets_do_not_depend_on_the_steps_autocast_but_where_asked() -> None:
    images = torch.randn(2, 3, 28, 28)
    exact = made("fp32").encoder(images).patches
    errors = {}
    for precision in ("same", "fp32", "bf16", "autocast"):
        bank = TeacherBank([made(precision)], 14)
        plain = bank(images, {})["t"].patches
        with torch.autocast("cpu", torch.bfloat16):
            inside = bank(images, {})["t"].patches
        assert torch.equal(plain, inside) == (precision != "same")
        errors[precision] = float((inside - exact).norm() / exact.norm())
    assert errors["fp32"] == 0 and all(0 < errors[p] < 0.01 for p in ("same", "bf16", "autocast"))


def test_networks_of_other_libraries_run_under_autocast() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("autocast", torch.bfloat16)):
        foreign = Foreign()
        TeacherBank([made(precision, foreign)], 14)(torch.randn(1, 3, 28, 28), {})
        assert foreign.seen == [dtype]
