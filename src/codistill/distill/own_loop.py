"""Distillation in your own training loop: teachers and a student in, a loss to differentiate out.

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

This is the objective that `codistill distill` trains, with the same losses, sharing, dropping and target statistics.
Data, optimizer, precision and distribution are up to you. With several processes, wrap `objective.trainable`, pass the
wrapped module as `model`, and pass `rank`, `world_size` and a sum over processes, which the target statistics need.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from codistill.distill.objective import DistillationObjective, DistillConfig
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.network import NetworkEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.objective import StepContext, StepResult, identity
from codistill.errors import ConfigError
from codistill.student.projectors import ProjectorConfig
from codistill.student.statistics import TargetStatistics
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch

DEFAULT = DistillConfig()


def distill_objective(
    encoder: str | Path | ViTEncoder | NetworkEncoder,
    teachers: Mapping[str, str | Path | Encoder],
    *,
    domains: Mapping[str, str] | None = None,
    projector: ProjectorConfig | None = None,
    config: DistillConfig = DEFAULT,
) -> DistillationObjective:
    """Create the objective that distils some teachers into an encoder.

    Args:
        encoder: the student's encoder: one of codistill's own encoders, or a text or path that `load_encoder` accepts.
        teachers: the teachers' encoders by name: any encoders, or texts or paths that `load_encoder` accepts.
        domains: domains of the teachers that are not generic, by name; see `SharingConfig`.
        projector: configuration of every teacher's projector; None: DUNE's.
        config: losses, sharing, dropping, target statistics.

    Returns:
        The objective. Its `trainable` is the student, on the CPU, with parameters that require gradients.

    Raises:
        ConfigError: if the encoder cannot be trained or shares weights with a teacher, if `domains` names an unknown
            teacher, or if `config` names sources, which `distill_step` does not know.
    """
    if config.sharing.shared_sources is not None:
        raise ConfigError(
            "sharing.shared_sources would have no effect: the images of distill_step have domains, no sources. Give "
            "the images that are shared the generic domain, the others one of their own"
        )
    if not isinstance(teachers, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f'teachers are given by name, {{"dino": "dinov2_vits14"}}; got {teachers!r}')
    named = encoder.spec.name if isinstance(encoder, Encoder) else encoder
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
        found = load_encoder(teacher)
        if not {*map(id, found.parameters())}.isdisjoint(map(id, student_encoder.parameters())):
            raise ConfigError(
                f"teacher {name!r} shares its weights with the student, and would change with it: give its name, or a "
                "copy (copy.deepcopy)"
            )
        made.append(Teacher(settings, found))
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
    """Compute the loss of one batch.

    Args:
        objective: made by `distill_objective`, or any other `DistillationObjective`.
        images: (batch, 3, row, column), ImageNet-normalized, on the objective's device (`objective.to_device` moves the
            teachers, `objective.trainable.to` the student).
        step, total_steps: the current step, from 0, and the number of steps; momenta and random draws follow from them.
        domains: the domain of each image; None: all generic.
        seed: of the random draws.
        model: `objective.trainable` as wrapped by DDP, FSDP2 or compile; None: itself.
        rank, world_size, all_reduce_sum: of a distributed training; the sum is over all processes, in place.

    Returns:
        `loss`, to differentiate, and detached `metrics`.

    Raises:
        ConfigError: if the number of domains is not that of the images, if no teacher teaches a domain, if the step is
            or the rank is out of range, if there are several processes but no sum over them, or if fixed statistics
            were not calibrated (`distill/calibration.py`).
    """
    count = images.shape[0]
    if count == 0:
        raise ConfigError("a step needs one image at least; got none")
    domains = ("generic",) * count if domains is None else domains
    if isinstance(domains, str):
        raise ConfigError(f"domains are one for each image, [{domains!r}, …]; got the text {domains!r}")
    if len(domains) != count:
        raise ConfigError(f"domains name {len(domains)} images; there are {count}")
    if not 0 <= step < total_steps:
        raise ConfigError(f"step must lie in 0 to {total_steps - 1}; got {step}")
    if not 0 <= rank < world_size:
        raise ConfigError(
            f"rank must lie in 0 to {world_size - 1}, as world_size is {world_size}; got {rank}"
        )
    if world_size > 1 and all_reduce_sum is identity:
        raise ConfigError(
            f"{world_size} processes need all_reduce_sum, a sum over them: losses and statistics would be those of one"
        )
    _check_domains(objective, domains)
    if step == 0 and objective.config.targets.statistics == "fixed":
        _check_calibrated(objective)
    names = ("",) * count
    batch = Batch(images, tuple(domains), names, names)
    context = StepContext(
        step=step,
        total_steps=total_steps,
        seed=seed,
        rank=rank,
        world_size=world_size,
        all_reduce_sum=all_reduce_sum,
    )
    return objective.step(objective.trainable if model is None else model, batch, context)


def _check_domains(objective: DistillationObjective, domains: Sequence[str]) -> None:
    """Refuse images that no teacher teaches."""
    sharing, teachers = objective.config.sharing, objective.bank.domains
    idle = sorted(
        one for one in set(domains) if not any(sharing.teaches(of, one, "") for of in teachers.values())
    )
    if idle:
        raise ConfigError(
            f"images of the domain(s) {', '.join(idle)} would teach nothing: with sharing mode {sharing.mode!r} no "
            f"teacher sees them. Domains of teachers: {dict(teachers)}"
        )


def _check_calibrated(objective: DistillationObjective) -> None:
    """Refuse fixed statistics that still have their initial values: a mean of 0 and a deviation of 1."""
    for name, module in objective.trainable.target_statistics.items():
        assert isinstance(module, TargetStatistics)
        for _, one in module.by_kind():
            if not one.mean.any() and bool((one.std == 1).all()):
                raise ConfigError(
                    f"targets.statistics is fixed, and those of {name!r} were never taken: call "
                    "codistill.distill.calibration.calibrate on some batches before the first step, or take `batch`"
                )
