"""A teacher's pool, a mosaic and windows in one run, as a user types them: it resumes bit for bit, and loads again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import codistill
from codistill.cli import main
from codistill.encoders.registry import REGISTERED
from codistill.encoders.timm_model import TimmViT
from codistill.types import IMAGENET_MEAN, IMAGENET_STD

timm = pytest.importorskip("timm")
COMMAND = [
    *(
        "distill",
        "debug",
        "--engine.total-steps=3",
        "--engine.checkpoint-every=1",
        "--engine.validate-every=3",
    ),
    "--teacher=siglip,small_siglip",
    "--teacher=stereo,random:vit_tiny,dim=48,num_heads=2,depth=1,patch_size=16,seed=2,domain=3d,kinds=patch",
    "--teachers.0.pool-predictions",
    *("--teachers.1.image-size=128", "--teachers.1.mosaic", "--student.window=2", "--student.num-global=1"),
    *("--distill.targets.statistics=fixed", "--distill.targets.transform=phi_s"),
    "--distill.targets.estimate-steps=2",
]


def small_siglip() -> TimmViT:
    """As timm's SigLIP, small: attention pooling, no class token."""
    torch.manual_seed(0)
    sizes = {"img_size": 56, "patch_size": 14, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 0}
    model = timm.models.vision_transformer.VisionTransformer(**sizes, class_token=False, global_pool="map")
    about = {"name": "small_siglip", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "image_size": 56}
    return TimmViT(model, {**about, "licence": "mit"}, "pooled")


@pytest.fixture
def registered() -> Iterator[None]:
    codistill.register_encoder("small_siglip", small_siglip, replace=True)
    yield
    del REGISTERED["small_siglip"]


def final(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step_00000003" / "model.safetensors")


@pytest.mark.usefixtures("registered")
def test_a_run_resumes_bit_for_bit_and_loads(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert main([*COMMAND, "--out", str(straight)]) == 0
    assert main([*COMMAND, "--engine.stop-after=2", "--out", str(resumed)]) == 75
    assert main([*COMMAND, "--out", str(resumed)]) == 0
    one, two = final(straight), final(resumed)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert one["target_statistics.siglip.cls.std"].shape == (16,)
    first = json.loads((straight / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss/siglip/cls"] > 0  # the pool's summary is not that of the teacher's own patches yet
    config = json.loads((straight / "export" / "config.json").read_text())
    assert config["teachers"][0]["pooled"] is True
    assert (config["architecture"]["window"], config["architecture"]["num_global"]) == (2, 1)
    student = codistill.load_student(str(straight / "export"))
    predicted = student.project(student.encoder(torch.randn(1, 3, 56, 56), norm=False), "siglip")
    assert predicted.cls is None and predicted.patches.shape == (1, 16, 16)
