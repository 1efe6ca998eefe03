import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from codistill.engine.parallel import compile_units, recompute_activations, repeated_units
from codistill.nn.linear import ONEDNN_LINEAR
from codistill.nn.vit import VisionTransformer, ViTConfig


def tiny_vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        ViTConfig(dim=16, depth=3, num_heads=2, patch_size=4, image_size=8, drop_path=0.5)
    )


class CountMatmuls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.addmm, torch.ops.aten.mm, ONEDNN_LINEAR)
        return func(*args, **(kwargs or {}))


def loss_and_gradients(model: VisionTransformer) -> tuple[float, list[torch.Tensor | None], int]:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    counter = CountMatmuls()
    with counter:
        loss = model.train()(images, norm=False).patches.square().mean()
        loss.backward()
    return loss.item(), [p.grad for p in model.parameters()], counter.count


def test_recomputing_gives_the_same_gradients_by_more_work():
    plain, recomputed = tiny_vit(), tiny_vit()
    names = list(recomputed.state_dict())
    recompute_activations(recomputed)
    assert list(recomputed.state_dict()) == names
    loss, gradients, work = loss_and_gradients(plain)
    again, others, more_work = loss_and_gradients(recomputed)
    assert loss == again and more_work > work
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(gradients, others, strict=True))


def test_units_are_the_transformer_blocks():
    model = tiny_vit()
    assert repeated_units(model) == list(model.blocks)
    assert repeated_units(torch.nn.Linear(2, 2)) == []


@pytest.mark.slow
def test_compiled_blocks_agree_and_keep_their_names():
    plain, compiled = tiny_vit(), tiny_vit()
    compile_units(compiled)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(images).patches, compiled.eval()(images).patches)
