"""A run as the next one's teacher: licences of all generations, purposes, stages of a plan, identity."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.cli import main
from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.targets import TargetConfig
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.objective import StepContext
from codistill.errors import ConfigError
from codistill.recipes.plan import earlier_stages, teacher_shape
from codistill.recipes.purpose import check_purpose, stated_licence
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import RECIPES, find_recipe
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch
from codistill.weights.licences import inherited, licences_of, permits_commercial

TEACHER = "random:vit_tiny,dim=32,num_heads=2,depth=1,seed=1"


def test_licences_of_all_generations() -> None:
    first = inherited(["Apache-2.0", "CC BY-NC-SA 4.0"])
    second = inherited([first, "Apache-2.0", "MIT"])
    assert second == "distilled from weights under: Apache-2.0; CC BY-NC-SA 4.0; MIT"
    assert licences_of(second) == ("Apache-2.0", "CC BY-NC-SA 4.0", "MIT")
    assert permits_commercial(second) is False and permits_commercial("Apache-2.0") is True
    assert permits_commercial(inherited(["MIT", "some-license"])) is None
    assert permits_commercial("NAVER non-commercial") is False


def test_a_second_generation_names_the_first_ones_licences(tmp_path: Path) -> None:
    short = ["--engine.total-steps=1", "--engine.validate-every=0"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["distill", "debug", *short, "--out", str(first)]) == 0
    export = json.loads((first / "export" / "config.json").read_text())
    export["licence"] = "distilled from weights under: CC BY-NC 4.0; MIT"
    header = (
        (first / "describe.json")
        .read_text()
        .replace("distilled from weights under: none (random weights)", export["licence"])
    )
    (first / "describe.json").write_text(header)
    again = ["distill", "debug", "--teacher", f"proxy,{first}", *short]
    assert main([*again, "--out", str(second)]) == 0
    described = json.loads((second / "export" / "config.json").read_text())
    assert described["licence"] == "distilled from weights under: CC BY-NC 4.0; MIT"
    assert described["teachers"][0]["licence"] == export["licence"]
    recipe = find_recipe("debug")
    commercial = replace(
        recipe, use="commercial", teachers=(TeacherConfig(name="proxy", encoder=str(second)),)
    )
    with pytest.raises(ConfigError, match=r"teacher 'proxy' \(.*second\) forbids it: CC BY-NC 4.0; MIT"):
        check_purpose(commercial)


def test_purposes() -> None:
    check_purpose(replace(find_recipe("debug"), use="commercial"))
    assert stated_licence("dinov2_vits14") == ("Apache-2.0", True)
    assert stated_licence("runs/not-there-yet") is None
    recipe = replace(find_recipe("dune-vitsmall14-336"), use="commercial")
    with pytest.raises(
        ConfigError, match=r"licence of teacher 'mast3r_vitlarge_16' .* forbids it: CC BY-NC-SA"
    ):
        check_purpose(recipe)
    unknown = replace(recipe, teachers=(TeacherConfig(name="x", encoder="hf:some/model"),))
    with pytest.raises(ConfigError, match="is not known to allow it: unknown"):
        check_purpose(unknown)
    with pytest.raises(ConfigError, match="use must be any or commercial"):
        replace(recipe, use="military")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "licence", "allowed"),
    [
        ("dinov2_vits14,window=16,precision=bf16", "Apache-2.0", True),
        ("dinov2_vits14,register_neurons=units.json", "Apache-2.0", True),
        ("siglip2_b16_256,summary=pooled", "apache-2.0", True),
        ("dinov3_vits16", "dinov3-license", True),
        ("c-radiov4-h", "nvidia-open-model-license", True),
        ("eupe_vitb16", "fair-noncommercial-research-license", False),
        ("hf:org/name,summary=projected", "unknown", None),
        ("stereo-tiny", "distilled from weights under: Apache-2.0", True),
    ],
)
def test_licences_of_every_kind_of_name(text: str, licence: str, allowed: bool | None) -> None:
    if text.startswith(("siglip2", "dinov3", "c-radio", "eupe")):
        pytest.importorskip("timm")
    assert stated_licence(text) == (licence, allowed)


def test_the_licence_of_the_weights_that_a_network_starts_from() -> None:
    pytest.importorskip("timm")
    recipe = replace(find_recipe("debug"), use="commercial")

    def starting(network: str) -> Recipe:
        student = replace(recipe.student, network=network, patch_size=32)
        return replace(recipe, student=student, image_size=64)

    name = "timm:convnextv2_tiny.fcmae_ft_in1k"
    check_purpose(starting(name))  # random weights
    with pytest.raises(ConfigError, match=r"licence of student\.network .* forbids it: cc-by-nc-4\.0"):
        check_purpose(starting(f"{name},pretrained=true"))


def test_stages_of_a_plan_and_shapes_of_teachers() -> None:
    last = RECIPES["eupe-vitb16"]
    assert [stage.name for stage in earlier_stages(last, RECIPES)] == ["eupe-proxy", "eupe-vitb16-256"]
    proxy = teacher_shape(last.teachers[0], RECIPES)
    assert (proxy.dim, proxy.depth, proxy.patch_size) == (1792, 48, 16)
    names = [
        (shape.dim, shape.depth) for t in RECIPES["eupe-proxy"].teachers if (shape := teacher_shape(t, {}))
    ]
    assert names == [(1536, 50), (1536, 47), (1280, 32)]  # timm's, counted there: 1.88, 1.7 and 0.84 billion
    assert [stage.name for stage in earlier_stages(RECIPES["dune-vitbase14-448"], RECIPES)] == [
        "dune-vitbase14-336"
    ]


OWN = """\
from torch import nn
from codistill.types import Tokens

class Scale(nn.Module):
    def __init__(self, config, student, out_dim, kinds):
        super().__init__()
        self.map = nn.Linear(student.dim, out_dim)

    def forward(self, outputs):
        last = outputs[-1]
        return Tokens(patches=self.map(last.patches), grid=last.grid, cls=self.map(last.cls), normed=True)
"""


def test_a_student_that_is_its_proxy_has_no_loss(tmp_path: Path) -> None:
    """The adaptor is the identity, up to the standardization of targets."""
    (tmp_path / "own.py").write_text(OWN)
    proxy = seeded_encoder(TEACHER)
    bank = TeacherBank([Teacher(TeacherConfig(name="proxy", norm=False), proxy)], 14)
    encoder = ViTEncoder(proxy.config)
    encoder.load_state_dict(proxy.state_dict())
    student = Student(encoder, bank.target_specs(), ProjectorConfig(kind=f"{tmp_path / 'own.py'}:Scale"))
    mean, std = torch.randn(32), torch.rand(32) + 0.5
    for statistics in student.target_statistics["proxy"].values():  # type: ignore[operator]
        statistics.mean.copy_(mean)
        statistics.std.copy_(std)
    adaptor = student.projectors["proxy"].map  # type: ignore[union-attr]
    with torch.no_grad():
        adaptor.weight.copy_(torch.diag(1 / std))
        adaptor.bias.copy_(-mean / std)
    config = DistillConfig(
        loss=LossConfig(weights={"cosine": 1.0, "smooth_l1": 1.0, "gram": 1.0}),
        targets=TargetConfig(statistics="fixed"),
    )
    objective = DistillationObjective(student, bank, config)
    images = torch.randn(2, 3, 56, 56)
    batch = Batch(images=images, domains=("generic",) * 2, sources=("a",) * 2, names=("x",) * 2)
    result = objective.step(student, batch, StepContext(step=0, total_steps=1))
    assert result.loss.item() < 1e-6
    with torch.no_grad():
        adaptor.bias.add_(0.1)
    assert objective.step(student, batch, StepContext(step=0, total_steps=1)).loss.item() > 1e-3
