"""Fit a human-mesh head on frozen features, or with its encoder: a config in, a head folder out; the same call goes on.

Source: Multi-HMR (arXiv 2402.14654) section 3.4, which trains both; the frozen encoder: DUNE (arXiv 2503.14405).
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from codistill.bodies.base import BodyModel
from codistill.bodies.smplx import SmplxBody
from codistill.encoders.vit import ViTEncoder
from codistill.engine.distributed import Process
from codistill.errors import DataError
from codistill.heads.human_mesh.model import HumanMeshModel
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.data import (
    PeopleData,
    check_people,
    labelled_inputs,
    limited_people,
    open_people,
)
from codistill.tasks.people.loading import PeopleBatch, ViewPlan, plain_batches, training_batches
from codistill.tasks.people.objective import PeopleObjective
from codistill.tasks.people.sample import Skeleton
from codistill.tasks.people.smplx_layouts import SmplxImages
from codistill.tasks.people.start import fresh_head, read_windows, start_from
from codistill.tasks.people.tokens import StoredTokens, store_tokens
from codistill.tasks.people.views import ViewLabels
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import HeadRecord, write_head
from codistill.tasks.shared.head_fit import FitFacts, HeadTraining, run_head_fit
from codistill.tasks.shared.resumed import with_encoder
from codistill.tasks.shared.same_encoder import told_of
from codistill.tasks.shared.unfrozen import unfrozen, with_encoder_scale, write_unfrozen


def fit_people(config: PeopleFit, runtime: Runtime, process: Process | None = None) -> bool:
    """Fit a head and write it to `runtime.out`; the same call goes on after an interruption.

    Returns:
        Whether it is finished.

    Raises:
        ConfigError, DataError, CheckpointError: the text says what to do.
    """
    process = process or Process(device=runtime.device)
    recipe = config.recipe
    data = open_people(config.data, "train", partial=config.partial)
    for note in data.notes:
        runtime.say(f"note: {note}")
    check_people(data.samples, f"{config.data} (train)")
    held_out = _held_out(config, process)
    features = FrozenFeatures(config.features).to(process.device)
    encoder = unfrozen(features.encoder, config.features.encoder) if config.unfreeze else None
    size = whole_patches(config.size or data.size, features.patch_size)
    plan = _plan(config, data, features, size)
    head = fresh_head(data.body, features, size, config)
    if config.init:
        start_from(head, config.init, runtime)
    what = "encoder and head" if encoder else "head"
    runtime.say(
        f"{recipe.name} fit of the {what} on {len(plan.data)} images of {config.data} at {size} px, body "
        f"{data.body.name}, {recipe.steps} steps of {recipe.batch_size}; licence of {features.encoder.spec.name}: "
        f"{features.encoder.spec.licence}; of the body: {data.body.licence}"
    )
    facts = run_head_fit(
        lambda: _training(config, plan, held_out, head, encoder, features, data.body, runtime, process),
        lambda: with_encoder(labelled_inputs(plan.data), features),
        config=config,
        steps=recipe.steps,
        seed=config.seed,
        optim=with_encoder_scale(recipe.optim, config.encoder_lr_scale),
        batch_size=recipe.batch_size,
        runtime=runtime,
        process=process,
        accumulate=config.accumulate,
    )
    if facts is None:
        return False
    if process.is_main:
        trained = facts.trained if encoder is None else facts.trained.get_submodule("head")
        assert isinstance(trained, HumanMeshHead)
        record = _record(config, data, plan, trained, features, facts)
        if encoder is not None:
            record = _with_encoder(record, encoder, runtime)
        write_head(runtime.out, record, trained.cpu().state_dict(), list(runtime.command))
    return True


def whole_patches(size: int, patch_size: int) -> int:
    """The nearest multiple of the patch size."""
    return max(1, round(size / patch_size)) * patch_size


def _plan(config: PeopleFit, data: PeopleData, features: FrozenFeatures, size: int) -> ViewPlan:
    return ViewPlan(
        data=limited_people(data.samples, config.limit),
        skeleton=Skeleton.of(data.body),
        size=size,
        patch_size=features.patch_size,
        mirror=config.recipe.mirror,
        targets=config.recipe.targets,
        seed=config.seed,
    )


def _stored(
    plan: ViewPlan, config: PeopleFit, features: FrozenFeatures, runtime: Runtime, process: Process
) -> ViewPlan:
    """The plan with tokens and labels of every image in memory or mapped. The first process makes both."""

    def made() -> tuple[Path, tuple[int, ...], tuple[ViewLabels, ...]]:
        found = store_tokens(
            plan.data,
            features,
            plan.size,
            runtime.cache_folder,
            about=f"{config.data} {config.limit}",
            mirror=plan.mirror,
            device=process.device,
            progress=_reports(runtime),
            say=runtime.say,
        )
        return found.file, found.values.shape, found.labels

    return ViewPlan(**{**vars(plan), "stored": StoredTokens.opened(*process.on_main(made))})


def _reports(runtime: Runtime) -> Any:
    """Says how far the encoding is, ten times at most."""
    said = [0]

    def progress(done: int, total: int) -> None:
        if done == total or done - said[0] >= total / 10:
            said[0] = done
            runtime.say(f"tokens of {done} of {total} images")

    return progress


def _training(
    config: PeopleFit,
    plan: ViewPlan,
    held_out: PeopleData | None,
    head: HumanMeshHead,
    encoder: ViTEncoder | None,
    features: FrozenFeatures,
    body: BodyModel,
    runtime: Runtime,
    process: Process,
) -> HeadTraining[PeopleBatch]:
    """What trains on what; tokens are stored and windows read first, where the recipe says so."""
    recipe = config.recipe
    surface = body.thinned(recipe.every_vertex) if recipe.every_vertex > 1 else body
    if recipe.stored:
        plan = _stored(plan, config, features, runtime, process)
        head = read_windows(head, plan, surface, config, features, runtime, process)
    about = {
        "data": config.data,
        "body": surface.name,
        "size": plan.size,
        "unfrozen": config.unfreeze,
        **features.describe(),
    }
    trainable = head if encoder is None else HumanMeshModel(encoder, head, freeze_encoder=False)
    return HeadTraining(
        objective=PeopleObjective(features, trainable, surface, recipe.loss, plan.size, about),
        train_batches=training_batches(
            plan,
            batch_size=recipe.batch_size,
            total_steps=recipe.steps,
            accumulate=config.accumulate,
            rank=process.rank,
            world_size=process.world_size,
            workers=runtime.workers,
            device=process.device,
        ),
        val_batches=_validation(config, plan, held_out, surface, process),
        validate_every=config.validate_every,
    )


def _held_out(config: PeopleFit, process: Process) -> PeopleData | None:
    """The val split, checked, or None."""
    if not config.validate_every:
        return None
    held_out = open_people(config.data, "val", partial=config.partial)
    if len(held_out.samples) < process.world_size:
        raise DataError(f"{config.data}: has no val split to validate on; leave out --validate-every")
    check_people(held_out.samples, f"{config.data} (val)")
    return held_out


def _validation(
    config: PeopleFit, plan: ViewPlan, held_out: PeopleData | None, body: BodyModel, process: Process
) -> Any:
    """The val split's batches, or None."""
    if held_out is None:
        return None
    samples = held_out.samples
    if isinstance(samples, SmplxImages) and isinstance(body, SmplxBody):
        samples = samples.on(body)  # as wide as the training labels
    own = ViewPlan(**{**vars(plan), "data": samples, "stored": None, "mirror": False})
    return lambda: plain_batches(own, config.recipe.batch_size, workers=0, device=process.device)


def _record(
    config: PeopleFit,
    data: PeopleData,
    plan: ViewPlan,
    head: HumanMeshHead,
    features: FrozenFeatures,
    facts: FitFacts,
) -> HeadRecord:
    recipe = config.recipe
    return HeadRecord(
        task="people",
        features=config.features,
        data={
            "spec": config.data,
            "images": len(plan.data),
            "body": data.body.name,
            "n_shape": data.body.n_shape,
            "body_licence": data.body.licence,
        },
        test={"size": plan.size},
        head=asdict(head.config),
        encoder=told_of(features),
        fit={
            "protocol": recipe.name,
            "batch_size": recipe.batch_size,
            "lr": recipe.optim.peak_lr(recipe.batch_size),
            "init": config.init,
            "unfrozen": config.unfreeze,
            **facts.as_record(),
        },
    )


def _with_encoder(record: HeadRecord, encoder: ViTEncoder, runtime: Runtime) -> HeadRecord:
    """Write the trained encoder beside the head; the record that loads it."""
    named = record.features.encoder
    where = write_unfrozen(runtime.out, encoder, named=named, task="people", command=runtime.command)
    said = record.encoder | {"encoder": where, "trained_from": named}
    return replace(record, features=replace(record.features, encoder=where), encoder=said)
