"""Fit a two-view head with the engine, its encoder frozen or trained: from a config to a head folder; resumable.

Cached: a few views of every pair are encoded once, and all steps train on their tokens. Online: every step uses fresh
views; the encoder is frozen as in DUNE (arXiv 2503.14405), or trained as well as in MASt3R (arXiv 2406.09756).
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import encoder_fingerprint, weights_hash
from codistill.encoders.load import load_encoder
from codistill.engine.distributed import Process
from codistill.engine.objective import TrainBatches, ValBatches
from codistill.errors import ConfigError
from codistill.files.inputs import Inputs
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import Subset
from codistill.tasks.shared.groups import named_groups, split_groups
from codistill.tasks.shared.head_files import HeadData
from codistill.tasks.shared.head_fit import FitFacts, HeadTraining
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.progress import shown
from codistill.tasks.shared.resumed import encoder_part
from codistill.tasks.shared.trained_fit import run_trained_fit
from codistill.tasks.shared.unfrozen import unfrozen
from codistill.tasks.two_view.batches import PairBatch, online_batches
from codistill.tasks.two_view.cached_batches import cached_batch, cached_batches
from codistill.tasks.two_view.config import TwoViewFit
from codistill.tasks.two_view.head import write_two_view_head
from codistill.tasks.two_view.objective import TwoViewObjective
from codistill.tasks.two_view.pairs import PairData, PairsData
from codistill.tasks.two_view.start import fresh_head
from codistill.tasks.two_view.token_cache import CacheShape, TokenCache, announce, build_token_cache
from codistill.tasks.two_view.views import PairViews

_HELD_OUT = 64


def fit_two_view(split: PairsData, config: TwoViewFit, runtime: Runtime, process: Process) -> bool:
    """Fit a head on a training split and write it to `runtime.out`; the same call resumes.

    Returns:
        True if the fit is finished; False if it stopped on request.

    Raises:
        ConfigError, DataError, CheckpointError: if an input cannot be used; the message says what to do.
    """
    data, named, maker = split.samples, config.features.encoder, config.pair_views(split.size)
    encoder = load_encoder(named)
    _check_size(maker, encoder)
    learner = unfrozen(encoder, named) if config.unfreeze else None
    head = fresh_head(config, encoder, runtime)
    spec, what = encoder.spec, "encoder and head" if learner else "head"
    runtime.say(
        f"fit of the {what}: {len(data)} pairs of {config.data}, {config.steps} steps of "
        f"{config.batch_size}{' (and as many swapped)' if config.symmetrize else ''}; "
        f"{sum(p.numel() for p in head.parameters()) / 1e6:.1f} M parameters in the head; licence of {spec.name}: "
        f"{spec.licence}"
    )
    about = {"data": config.data, "encoder": named, "licence": spec.licence, "unfrozen": config.unfreeze}

    def training() -> HeadTraining[PairBatch]:
        batches, validation = _batches(config, encoder, head.config, data, maker, runtime, process)
        pairs = {"symmetrize": config.symmetrize, "unfreeze": config.unfreeze}
        return HeadTraining(
            objective=TwoViewObjective(encoder, head, config.loss, description=about, **pairs),
            train_batches=batches,
            val_batches=validation,
            validate_every=0 if validation is None else max(1, config.steps // 8),
        )

    facts = run_trained_fit(
        training,
        lambda: _inputs(config, data, encoder),
        config,
        runtime,
        process,
    )
    if facts is None:
        return False
    if process.is_main:
        write_two_view_head(
            runtime.out,
            head,
            encoder=encoder,
            name=named,
            trained=learner,
            size=maker.size,
            data=HeadData(spec=config.data, samples=len(data)),
            fit=_record(config, head, facts),
            command=list(runtime.command),
        )
    return True


def _record(config: TwoViewFit, head: TwoViewHead, facts: FitFacts) -> dict[str, Any]:
    """Facts on the fit for head.json."""
    return {
        "protocol": "cached" if config.cached else "fresh views",
        "batch_size": config.batch_size,
        "unfrozen": config.unfreeze,
        "parameters": sum(p.numel() for p in head.parameters()),
        **facts.as_record(),
    }


def _inputs(config: TwoViewFit, data: PairData, encoder: Encoder) -> Inputs:
    """Inputs of the fit."""
    found = inputs_of(data)
    part = encoder_part(config.features.encoder, weights_hash(encoder))
    return Inputs(found.rows, (*found.shared, part))


def _check_size(maker: PairViews, encoder: Encoder) -> None:
    patch = encoder.spec.patch_size
    for size in (maker.size, *maker.shapes):
        if not any(side % patch for side in size):
            continue
        near = " ".join(str(max(1, round(side / patch)) * patch) for side in size)
        raise ConfigError(
            f"views of {size[0]}x{size[1]} pixels are no multiples of the patch size {patch} of "
            f"{encoder.spec.name}; take --size {near}"
        )


def _batches(
    config: TwoViewFit,
    encoder: Encoder,
    shape: TwoViewConfig,
    data: PairData,
    maker: PairViews,
    runtime: Runtime,
    process: Process,
) -> tuple[TrainBatches[PairBatch], ValBatches[PairBatch] | None]:
    steps: dict[str, Any] = {"total_steps": config.steps, "seed": config.seed, "matches": config.matches}
    if not config.cached:
        batches = online_batches(
            data,
            maker,
            batch_size=config.batch_size,
            accumulate=config.accumulate,
            rank=process.rank,
            world_size=process.world_size,
            workers=runtime.workers,
            device=process.device,
            **steps,
        )
        return batches, None
    if process.world_size > 1 or config.accumulate > 1:
        raise ConfigError(
            "cached tokens are read by one process, whole batches at a time: start it without torchrun and "
            "--accumulate, or take --no-cached"
        )
    held = max(1, min(_HELD_OUT, len(data) // 20))
    split = split_groups(named_groups(data), held, config.seed)
    if split.shared:
        runtime.say(
            f"all pairs are of one group ({named_groups(data).kind}): the held-out ones resemble those that train, "
            "and their losses are flattering"
        )
    parts = (encoder, shape, maker, runtime)
    cached = _cache("training", Subset(data, split.training), config.views, config, *parts)
    held_out = _cache("held-out", Subset(data, split.held_out), 1, config, *parts)
    batches = cached_batches(cached, batch_size=config.batch_size, **steps)

    def validation():
        for start in range(0, len(held_out), config.batch_size):
            views = np.arange(start, min(start + config.batch_size, len(held_out)))
            yield cached_batch(held_out, views, seed=config.seed, step=start, matches=config.matches)

    return batches, validation


def _cache(
    name: str,
    data: PairData,
    passes: int,
    config: TwoViewFit,
    encoder: Encoder,
    shape: TwoViewConfig,
    maker: PairViews,
    runtime: Runtime,
) -> TokenCache:
    patch = encoder.spec.patch_size
    sizes = CacheShape(
        views=len(data) * passes,
        grid=(maker.size[0] // patch, maker.size[1] // patch),
        channels=encoder.spec.dim,
        size=maker.size,
    )
    folder = runtime.cache_folder / name
    runtime.say(announce(sizes, folder))
    key = {
        "encoder": config.features.encoder,
        "fingerprint": asdict(encoder_fingerprint(encoder)),
        "norm": not shape.fresh_norm,
        "data": config.data,
        "passes": passes,
        "limit": config.limit,
        "views": asdict(maker),
        "seed": config.seed,
    }
    encoder.to(runtime.device)
    with shown(runtime, f"encoding {name}", sizes.views) as report:
        return build_token_cache(
            folder,
            key,
            sizes,
            encoder,
            data,
            maker,
            seed=config.seed,
            norm=not shape.fresh_norm,
            device=runtime.device,
            progress=lambda done, _: report(done),
            say=runtime.say,
        )
