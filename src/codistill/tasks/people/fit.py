"""Fit a human-mesh head on frozen features, or together with its encoder: from a config to a head folder; resumable.

Source: Multi-HMR (arXiv 2402.14654), section 3.4, which trains both; the frozen encoder: DUNE (arXiv 2503.14405).
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from codistill.bodies.base import BodyModel
from codistill.bodies.smplx import SmplxBody
from codistill.encoders.vit import ViTEncoder
from codistill.engine.distributed import Process
from codistill.errors import DataError
from codistill.files.plain import to_plain
from codistill.heads.human_mesh.model import HumanMeshModel
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.tasks.opening import open_split
from codistill.tasks.people.config import PeopleFit, PeopleProtocol
from codistill.tasks.people.data import LAYOUTS, PeopleData, check_people
from codistill.tasks.people.loading import PeopleBatch, ViewPlan, plain_batches, training_batches
from codistill.tasks.people.objective import PeopleObjective
from codistill.tasks.people.sample import Skeleton
from codistill.tasks.people.smplx_layouts import SmplxImages
from codistill.tasks.people.start import fresh_head, read_windows, start_from
from codistill.tasks.people.tokens import StoredTokens, store_tokens
from codistill.tasks.people.views import whole_patches
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, write_head
from codistill.tasks.shared.head_fit import FitFacts, HeadTraining
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.progress import shown
from codistill.tasks.shared.resumed import with_encoder
from codistill.tasks.shared.same_encoder import told_of
from codistill.tasks.shared.trained_fit import run_trained_fit
from codistill.tasks.shared.unfrozen import unfrozen, write_unfrozen


def fit_people(data: PeopleData, config: PeopleFit, runtime: Runtime, process: Process) -> bool:
    """Fit a head on a training split and write it to `runtime.out`; the same call resumes.

    Returns:
        True if the fit is finished.

    Raises:
        ConfigError, DataError, CheckpointError: if an input cannot be used; the message says what to do.
    """
    held_out = _held_out(config, process)
    features = FrozenFeatures(config.features).to(process.device)
    encoder = unfrozen(features.encoder, config.features.encoder) if config.unfreeze else None
    size = whole_patches(config.size or data.size, features.patch_size)
    plan = _plan(config, data, features, size)
    head = fresh_head(data.body, features, size, config)
    if config.init:
        start_from(head, config.init, runtime)
    runtime.say(
        f"fit of the {'encoder and head' if encoder else 'head'} on {len(plan.data)} images of {config.data} at {size} "
        f"px, {'stored tokens' if config.cached else 'fresh views'}, body {data.body.name}, {config.steps} steps of "
        f"{config.batch_size}; licence of {features.encoder.spec.name}: {features.encoder.spec.licence}; of the body: "
        f"{data.body.licence}"
    )
    facts = run_trained_fit(
        lambda: _training(config, plan, held_out, head, encoder, features, data.body, runtime, process),
        lambda: with_encoder(inputs_of(plan.data), features),
        config,
        runtime,
        process,
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


def _plan(config: PeopleFit, data: PeopleData, features: FrozenFeatures, size: int) -> ViewPlan:
    return ViewPlan(
        data=data.samples,
        skeleton=Skeleton.of(data.body),
        size=size,
        patch_size=features.patch_size,
        mirror=config.mirror,
        targets=config.targets,
        seed=config.seed,
    )


def _stored(
    plan: ViewPlan, config: PeopleFit, features: FrozenFeatures, runtime: Runtime, process: Process
) -> ViewPlan:
    """The plan with stored tokens and labels of every image; the first process computes them."""

    def made() -> Path:
        with shown(runtime, "encoding images", len(plan.data)) as report:
            return store_tokens(
                plan.data,
                features,
                plan.size,
                runtime.cache_folder,
                about=f"{config.data} {config.limit}",
                mirror=plan.mirror,
                device=process.device,
                workers=runtime.workers,
                progress=report,
                say=runtime.say,
            )

    return replace(plan, stored=StoredTokens.opened(process.on_main(made)))


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
    """Objective and batches; if the config asks for it, store tokens first and fit the window in closed form."""
    surface = body.thinned(config.every_vertex) if config.every_vertex > 1 else body
    if config.cached:
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
        objective=PeopleObjective(features, trainable, surface, config.loss, plan.size, about),
        train_batches=training_batches(
            plan,
            batch_size=config.batch_size,
            total_steps=config.steps,
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
    """The checked split `val`, or None without validation."""
    if not config.validate_every:
        return None
    held_out: PeopleData = open_split(LAYOUTS, config.data, "val", partial=config.partial)
    if len(held_out.samples) < process.world_size:
        raise DataError(f"{config.data}: has no val split to validate on; leave out --validate-every")
    check_people(held_out)
    return held_out


def _validation(
    config: PeopleFit, plan: ViewPlan, held_out: PeopleData | None, body: BodyModel, process: Process
) -> Any:
    """Batches of the split `val`, or None without validation."""
    if held_out is None:
        return None
    samples = held_out.samples
    if isinstance(samples, SmplxImages) and isinstance(body, SmplxBody):
        samples = samples.on(body)  # as many shape coefficients as the training labels
    own = replace(plan, data=samples, stored=None, mirror=False)
    return lambda: plain_batches(own, config.batch_size, workers=0, device=process.device)


def _record(
    config: PeopleFit,
    data: PeopleData,
    plan: ViewPlan,
    head: HumanMeshHead,
    features: FrozenFeatures,
    facts: FitFacts,
) -> HeadRecord:
    return HeadRecord(
        task="people",
        features=config.features,
        data=HeadData(spec=config.data, samples=len(plan.data)),
        test=to_plain(
            PeopleProtocol(
                size=plan.size,
                body=data.body.name,
                n_shape=data.body.n_shape,
                body_licence=data.body.licence,
            )
        ),
        head=asdict(head.config),
        encoder=told_of(features),
        fit={
            "protocol": "cached" if config.cached else "fresh views",
            "batch_size": config.batch_size,
            "lr": config.optim.peak_lr(config.batch_size),
            "init": config.init,
            "unfrozen": config.unfreeze,
            **facts.as_record(),
        },
    )


def _with_encoder(record: HeadRecord, encoder: ViTEncoder, runtime: Runtime) -> HeadRecord:
    """Write the trained encoder into the head's folder; return the record that loads it."""
    named = record.features.encoder
    where = write_unfrozen(runtime.out, encoder, named=named, task="people", command=runtime.command)
    features, facts = replace(record.features, encoder=where), replace(record.encoder, trained_from=named)
    return replace(record, features=features, encoder=facts)
