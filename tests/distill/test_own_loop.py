"""Distillation in a loop of one's own."""

import copy
from pathlib import Path

import pytest
import torch

from codistill.distill.calibration import calibrate
from codistill.distill.losses import LossConfig, image_loss
from codistill.distill.objective import DistillConfig
from codistill.distill.own_loop import distill_objective, distill_step
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.encoders.load import load_encoder
from codistill.encoders.registry import FunctionEncoder
from codistill.errors import ConfigError
from codistill.types import Batch, EncoderSpec

STUDENT = "random:vit_tiny,dim=24,depth=1,num_heads=2,image_size=28"
TEACHERS = {
    "one": "random:vit_tiny,dim=16,depth=1,num_heads=2,image_size=28,seed=1",
    "two": "random:vit_tiny,dim=12,depth=1,num_heads=2,image_size=28,seed=2,num_registers=1",
}
IMAGES = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_twenty_lines_train_a_student(tmp_path: Path) -> None:
    """The loop of the module's text: the loss falls, and the student is saved and loaded."""
    torch.manual_seed(0)
    objective = distill_objective(STUDENT, TEACHERS)
    student = objective.trainable
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(30):
        result = distill_step(objective, IMAGES, step=step, total_steps=30)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        objective.after_update()
        losses.append(float(result.loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    folder = student.encoder.save_pretrained(tmp_path / "student")
    loaded = load_encoder(folder)
    assert distill_objective(folder, {"one": folder}).trainable.encoder.spec == loaded.spec
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES).patches, student.encoder.eval()(IMAGES).patches)


def test_without_dropping_the_loss_is_the_mean_over_teachers_and_images() -> None:
    config = DistillConfig()
    config = type(config)(dropping=type(config.dropping)(mode="none"))
    objective = distill_objective(STUDENT, TEACHERS, config=config)
    found = distill_step(objective, IMAGES, step=0, total_steps=1)
    with torch.no_grad():
        predictions = objective.trainable(IMAGES)
        targets = objective.standardizer.running(objective.bank(IMAGES, dict.fromkeys(TEACHERS)))
        tables = [
            image_loss(objective.loss.of_teacher(predictions[t], targets[t], ("cls", "patch"), None))
            for t in TEACHERS
        ]
    torch.testing.assert_close(found.loss.detach(), torch.stack(tables).mean())


def test_domains_decide_who_teaches_whom() -> None:
    config = DistillConfig(sharing=SharingConfig(mode="none"))
    objective = distill_objective(STUDENT, TEACHERS, domains={"two": "human"}, config=config)
    result = distill_step(
        objective, IMAGES, step=0, total_steps=1, domains=["generic", "generic", "human", "generic"]
    )
    assert result.metrics["coefficient/one"] == 0.75 and result.metrics["coefficient/two"] == 0.25


def test_what_does_not_fit_is_refused() -> None:
    objective = distill_objective(STUDENT, TEACHERS)
    with pytest.raises(ConfigError, match="domains name 2 images; there are 4"):
        distill_step(objective, IMAGES, step=0, total_steps=1, domains=["a", "b"])
    with pytest.raises(ConfigError, match="one image at least"):
        distill_step(objective, IMAGES[:0], step=0, total_steps=1)
    with pytest.raises(ConfigError, match="step must lie in 0 to 4; got 5"):
        distill_step(objective, IMAGES, step=5, total_steps=5)
    with pytest.raises(ConfigError, match="rank must lie in 0 to 0, as world_size is 1; got 1"):
        distill_step(objective, IMAGES, step=0, total_steps=1, rank=1)
    with pytest.raises(ConfigError, match="2 processes need all_reduce_sum"):
        distill_step(objective, IMAGES, step=0, total_steps=1, rank=1, world_size=2)
    with pytest.raises(ConfigError, match="teachers are given by name"):
        distill_objective(STUDENT, list(TEACHERS.values()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="domains name three; teachers are one, two"):
        distill_objective(STUDENT, TEACHERS, domains={"three": "human"})


def test_a_student_that_would_teach_itself_is_refused() -> None:
    encoder = load_encoder(STUDENT)
    with pytest.raises(ConfigError, match="'self' shares its weights with the student"):
        distill_objective(encoder, {"self": encoder})  # type: ignore[arg-type]
    distill_objective(encoder, {"self": copy.deepcopy(encoder)})  # type: ignore[arg-type]


def test_images_that_would_teach_nothing_are_refused() -> None:
    config = DistillConfig(sharing=SharingConfig(mode="generic"))
    objective = distill_objective(STUDENT, TEACHERS, domains={"two": "human"}, config=config)
    domains = ["generic", "humans", "human", "generic"]
    with pytest.raises(ConfigError, match=r"domain\(s\) humans would teach nothing.*'two': 'human'"):
        distill_step(objective, IMAGES, step=0, total_steps=1, domains=domains)
    with pytest.raises(ConfigError, match=r"one for each image, \['gene', …\]; got the text 'gene'"):
        distill_step(objective, IMAGES, step=0, total_steps=1, domains="gene")
    people = dict.fromkeys(TEACHERS, "human")
    config = DistillConfig(sharing=SharingConfig(mode="none"))
    with pytest.raises(ConfigError, match=r"domain\(s\) generic would teach nothing"):
        distill_step(
            distill_objective(STUDENT, TEACHERS, domains=people, config=config), IMAGES, step=0, total_steps=1
        )
    shared = DistillConfig(sharing=SharingConfig(mode="generic", shared_sources=("in19k",)))
    with pytest.raises(ConfigError, match="shared_sources would have no effect"):
        distill_objective(STUDENT, TEACHERS, config=shared)


def test_terms_of_class_tokens_need_a_teacher_that_has_some() -> None:
    spec = EncoderSpec(name="pixels", dim=8, patch_size=14, has_cls=False)
    pixels = FunctionEncoder(spec, lambda images: images.new_zeros(len(images), 8, 4, 4))
    config = DistillConfig(loss=LossConfig(summary={"cosine": 1.0}))
    with pytest.raises(ConfigError, match=r"summary = .* would have no effect: no teacher has a class token"):
        distill_objective(STUDENT, {"pixels": pixels}, config=config)


def test_fixed_statistics_are_taken_before_the_first_step() -> None:
    config = DistillConfig(targets=TargetConfig(statistics="fixed"))
    objective = distill_objective(STUDENT, TEACHERS, config=config)
    with pytest.raises(ConfigError, match="those of 'one' were never taken"):
        distill_step(objective, IMAGES, step=0, total_steps=2)
    words = ("",) * 4
    batch = Batch(IMAGES, ("generic",) * 4, words, words)
    calibrate(objective, [batch], list(TEACHERS), lambda x: x)
    assert distill_step(objective, IMAGES, step=0, total_steps=2).loss.isfinite()
