"""Distillation in a training loop of your own: teachers and a student in, a loss to differentiate out.

    objective = distill_objective("random:vit_tiny", {"dino": "dinov2_vits14"})
    student = objective.trainable
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-3)
    for step, images in enumerate(batches):                    # (batch, 3, row, column), ImageNet-normalized
        result = distill_step(objective, images, step=step, total_steps=1000)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        objective.after_update()
    student.encoder.save_pretrained("student")

It is the objective that `codistill distill` trains: the same losses, sharing, dropping and target statistics. Data,
optimizer, precision and distribution are yours; with several processes, wrap `objective.trainable`, hand the wrapped
one over as `model`, and give `rank`, `world_size` and a sum over processes, which target statistics need.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from codistill.distill.objective import DistillationObjective, DistillConfig
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.network import NetworkEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.objective import StepContext, StepResult, identity
from codistill.errors import ConfigError
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch

DEFAULT = DistillConfig()


def distill_objective(
    encoder: str | ViTEncoder | NetworkEncoder,
    teachers: Mapping[str, str | Encoder],
    *,
    domains: Mapping[str, str] | None = None,
    projector: ProjectorConfig | None = None,
    config: DistillConfig = DEFAULT,
) -> DistillationObjective:
    """The objective of distilling teachers into an encoder.

    Args:
        encoder: the student's: an encoder of ours, or what `load_encoder` accepts.
        teachers: encoders by name, likewise.
        domains: of teachers that are not generic; see `SharingConfig`.
        projector: of every teacher; None: DUNE's.
        config: losses, sharing, dropping, target statistics.

    Returns:
        The objective; its `trainable` is the student, whose parameters require gradients, on the CPU.

    Raises:
        ConfigError: if the encoder cannot be trained, or a domain is of no teacher.
    """
    named = encoder if isinstance(encoder, str) else encoder.spec.name
    student_encoder = load_encoder(encoder, train=True)
    if not isinstance(student_encoder, ViTEncoder | NetworkEncoder):
        raise ConfigError(
            f"{named} cannot be a student: a {type(student_encoder).__name__} is not one of codistill's own "
            "encoders. Those can: a weights file, a run, an export, a known name, random:SIZE"
        )
    if unknown := set(domains or {}) - set(teachers):
        raise ConfigError(f"domains name {', '.join(sorted(unknown))}; teachers are {', '.join(teachers)}")
    made: list[Teacher] = []
    for name, teacher in teachers.items():
        settings = TeacherConfig(name=name, encoder=name, domain=(domains or {}).get(name, "generic"))
        made.append(Teacher(settings, load_encoder(teacher)))
    bank = TeacherBank(made, student_encoder.spec.patch_size)
    student = Student(
        student_encoder.requires_grad_(True),
        bank.target_specs(),
        projector,
        rotated_targets=config.targets.transform == "phi_s",
        std_floor=config.targets.std_floor,
    )
    return DistillationObjective(student.train(), bank, config)


def distill_step(
    objective: DistillationObjective,
    images: Tensor,
    *,
    step: int,
    total_steps: int,
    domains: Sequence[str] | None = None,
    seed: int = 0,
    model: nn.Module | None = None,
    rank: int = 0,
    world_size: int = 1,
    all_reduce_sum: Callable[[Tensor], Tensor] = identity,
) -> StepResult:
    """The loss of one batch.

    Args:
        objective: of `distill_objective`, or any `DistillationObjective`.
        images: (batch, 3, row, column), ImageNet-normalized, on the objective's device (`objective.to_device` moves
            teachers, `objective.trainable.to` the student).
        step, total_steps: place in the training, from 0; momenta and random draws follow from them.
        domains: of every image; None: all generic.
        seed: of the draws.
        model: the wrapped `objective.trainable` (DDP, FSDP2, compile); None: itself.
        rank, world_size, all_reduce_sum: of a distributed training; the sum is over all processes, in place.

    Returns:
        `loss`, to differentiate, and detached `metrics`.

    Raises:
        ConfigError: if domains do not count the images, or steps are out of order.
    """
    count = images.shape[0]
    if domains is not None and len(domains) != count:
        raise ConfigError(f"domains name {len(domains)} images; there are {count}")
    if not 0 <= step < total_steps:
        raise ConfigError(f"step must lie in 0 to {total_steps - 1}; got {step}")
    names = ("",) * count
    batch = Batch(images, tuple(domains) if domains is not None else ("generic",) * count, names, names)
    context = StepContext(
        step=step,
        total_steps=total_steps,
        seed=seed,
        rank=rank,
        world_size=world_size,
        all_reduce_sum=all_reduce_sum,
    )
    return objective.step(objective.trainable if model is None else model, batch, context)
