"""Refuse options without effect: a recipe in, a ConfigError out if it sets one.

Some options depend on others (the kernel of a blur whose probability is 0). Some name sources, domains or teachers that
may not exist. A recipe that sets such an option to another value than its default, or names something that does not
exist, is refused, and the error says what to change.
"""

import os
from collections.abc import Collection, Iterator

from codistill.data.source import SourceConfig
from codistill.distill.losses import DistillationLoss
from codistill.errors import ConfigError
from codistill.files.idle import Idle, refuse_idle, under
from codistill.files.own_code import is_own
from codistill.files.plain import field_hints
from codistill.files.urls import is_url
from codistill.nn.network import NetworkConfig
from codistill.nn.vit import VIT_SIZES
from codistill.recipes.named import check_names
from codistill.recipes.recipe import Recipe, published_steps
from codistill.recipes.sizes import check_aspects, view_plan
from codistill.student.projectors import RADIO_HEADS, ProjectorConfig, find_projector
from codistill.types import TokenKind


def check_recipe(recipe: Recipe, typed: Collection[str] = ()) -> None:
    """Refuse a recipe that sets options without effect, or names something that does not exist.

    Args:
        recipe: with all its overrides.
        typed: dotted paths given on the command line. These are refused even at their default.

    Raises:
        ConfigError: for the first such option: why it has no effect, and what to change.
    """
    check_length(recipe)
    refuse_idle(recipe, idle_options(recipe), typed)
    _check_terms(recipe)
    check_aspects(recipe)
    view_plan(recipe)  # refuses shifts after which student and teacher see nothing in common
    if recipe.distill.mesa.weight and not recipe.student.ema:
        raise ConfigError(
            f"distill.mesa.weight = {recipe.distill.mesa.weight:g} needs a moving average to agree with: add "
            "--student.ema 0.999"
        )
    if recipe.student.damp and recipe.engine.compile:
        raise ConfigError(
            "student.damp draws noise in every layer, which engine.compile cannot take. Leave one of them out."
        )
    _check_heads(recipe)
    check_names(recipe)


def check_length(recipe: Recipe) -> None:
    """Refuse a recipe whose two lengths disagree.

    Raises:
        ConfigError: if `epochs` and `engine.total_steps` disagree.
    """
    if recipe.epochs is None:
        return
    steps = published_steps(recipe.epochs, recipe.loader.batch_size)
    if recipe.engine.total_steps != steps:
        raise ConfigError(
            f"epochs = {recipe.epochs:g} makes {steps} steps of {recipe.loader.batch_size} images, but "
            f"engine.total_steps = {recipe.engine.total_steps}. Keep one: epochs = null, to train "
            f"{recipe.engine.total_steps} steps; or engine.total_steps = {steps}."
        )


def idle_options(recipe: Recipe) -> Iterator[Idle]:
    """Yield every option that has no effect in this recipe, whether it is set or not."""
    yield "loader.image_size", "a recipe's image_size (--image-size) is the side of its images"
    if recipe.world is None:
        yield "world_path", "the recipe has no world"
    if not recipe.held_out_sources:
        yield "engine.validate_every", "no images are held out (--held-out NAME,DOMAIN,PATH)"
    if recipe.loader.num_workers == 0:
        yield from under("loader", ("prefetch", "start_method"), "loader.num_workers is 0")
    places = (
        place for source in (*recipe.training_sources, *recipe.held_out_sources) for place in _places(source)
    )
    if not any(map(is_url, places)):
        names = ("cache_gb", "requests", "patience")
        yield from under("loader.remote", names, "no source is in a store (an address like s3://BUCKET/…)")
    yield from _augment(recipe)
    yield from _student(recipe)
    yield from _distill(recipe)
    yield from _optim(recipe)


def _places(source: SourceConfig) -> tuple[str, ...]:
    return tuple(os.path.expandvars(place) for place in (source.path, source.root or ""))


def _augment(recipe: Recipe) -> Iterator[Idle]:
    augment = recipe.augment
    strengths = ("brightness", "contrast", "saturation", "hue")
    if augment.jitter == 0:
        yield from under("augment", strengths, "augment.jitter, its probability, is 0")
    if not any(getattr(augment, name) for name in strengths):
        yield "augment.jitter", f"{', '.join(strengths)} are all 0"
    if augment.blur == 0:
        yield from under("augment", ("blur_kernel", "blur_sigma"), "augment.blur, its probability, is 0")
    if augment.blur_kernel == 1:
        yield from under("augment", ("blur", "blur_sigma"), "augment.blur_kernel is 1 pixel")
    if augment.solarize == 0:
        yield "augment.solarize_threshold", "augment.solarize, its probability, is 0"
    if augment.implementation == "reference":
        yield "augment.reduced_decoding", "augment.implementation reference decodes whole images"


def _student(recipe: Recipe) -> Iterator[Idle]:
    student, projector = recipe.student, recipe.student.projector
    if student.network:
        names = (
            "size",
            "dim",
            "depth",
            "num_heads",
            "num_registers",
            "class_tokens",
            "layer_scale",
            "window",
        )
        yield from under("student", names, f"student.network {student.network} has its own")
        yield (
            "engine.activation_checkpointing",
            "it recomputes transformer blocks, which student.network has none of",
        )
    elif student.init:
        yield "student.layer_scale", "student.init brings its own"
    if student.window == 0:
        yield "student.num_global", "student.window is 0: every block sees the whole image"
    predicted = [t for t in recipe.teachers if "cls" in (t.kinds or ("cls",)) and not t.pool_predictions]
    if not student.network and len(predicted) < 2:
        yield "student.class_tokens", "fewer than two teachers have class tokens to predict"
    if student.freeze_encoder:
        yield "student.damp", "student.freeze_encoder leaves its weights alone"
        yield "distill.mesa.weight", "student.freeze_encoder leaves the encoder equal to its moving average"
    reads = find_projector(projector.kind).options
    unread = (name for name in field_hints(ProjectorConfig) if name not in (*reads, "kind"))
    yield from under("student.projector", unread, f"student.projector.kind is {projector.kind}")
    if "last_hidden" not in reads:
        return
    known = VIT_SIZES.get(student.size, {}).get("depth", 0)
    depth = NetworkConfig.depth if student.network else int(student.depth or known)
    blocks = projector.student_blocks(depth) if depth else ()
    if blocks and depth - 1 not in blocks:
        yield "student.projector.last_hidden", f"the ladder does not stand on the last block, {depth - 1}"
    if blocks == (depth - 1,):
        yield "student.projector.hidden", "the ladder stands on the last block alone (see last_hidden)"


def _distill(recipe: Recipe) -> Iterator[Idle]:
    distill = recipe.distill
    sharing, targets = distill.sharing, distill.targets
    if sharing.mode == "full":
        yield "distill.sharing.skip_untaught", "with sharing mode full every teacher teaches every image"
    if sharing.mode != "generic":
        yield "distill.sharing.generic_domain", f"distill.sharing.mode is {sharing.mode}"
    elif sharing.shared_sources is not None:
        yield "distill.sharing.generic_domain", "distill.sharing.shared_sources says what is shared"
    if distill.dropping.mode == "none":
        yield "distill.dropping.probability", "distill.dropping.mode is none"
    elif recipe.teachers and recipe.training_sources and _most_teachers(recipe) < 2:
        yield "distill.dropping.probability", "no image has more than one teacher"
    if targets.statistics == "fixed":
        reason = "distill.targets.statistics is fixed: they do not move"
        yield from under("distill.targets", ("momentum_start", "momentum_end"), reason)
    else:
        yield (
            "distill.targets.estimate_steps",
            f"distill.targets.statistics is {targets.statistics}, not fixed",
        )
    if not any(teacher.own_sizes for teacher in recipe.teachers):
        yield "distill.alignment", "no teacher has image sizes of its own, so all grids are the student's"
    if distill.shift.most == 0:
        yield from under("distill.shift", ("draw", "sigma"), "distill.shift.most is 0")
    elif distill.shift.draw == "uniform":
        yield "distill.shift.sigma", "distill.shift.draw is uniform"
    if distill.mesa.weight == 0:
        yield "distill.mesa.start", "distill.mesa.weight is 0"
    kinds = {kind for teacher in recipe.teachers for kind in teacher.kinds or ("cls", "patch")}
    if recipe.teachers and "cls" not in kinds:
        yield "distill.loss.summary", "no teacher has class tokens among its kinds"
    if kinds == {"cls"} and distill.loss.summary is not None:
        yield (
            "distill.loss.weights",
            "teachers give class tokens alone, whose terms distill.loss.summary says",
        )


def _optim(recipe: Recipe) -> Iterator[Idle]:
    optim = recipe.optim
    if optim.clip == "none":
        yield "optim.clip_norm", "optim.clip is none"
    if optim.weight_decay == 0:
        yield "optim.decay", "optim.weight_decay is 0"
    if optim.schedule == "warmup_cosine":
        yield "optim.ramp_start", "optim.schedule warmup_cosine warms up from 0"
    elif optim.warmup_fraction == 0:
        yield "optim.ramp_start", "optim.warmup_fraction is 0"


def _most_teachers(recipe: Recipe) -> int:
    """Largest number of teachers that a source has."""
    teaches = recipe.distill.sharing.teaches
    return max(
        sum(teaches(teacher.domain, source.domain, source.name) for teacher in recipe.teachers)
        for source in recipe.training_sources
    )


def _check_terms(recipe: Recipe) -> None:
    """Refuse token kinds without a loss, if that is known without loading a teacher or the user's own files."""
    said: set[TokenKind] = {kind for teacher in recipe.teachers for kind in teacher.kinds or ()}
    loss = recipe.distill.loss
    if not any(is_own(name) for name in (*loss.weights, *(loss.summary or ()))):
        DistillationLoss(loss).require(said)


def _check_heads(recipe: Recipe) -> None:
    """Refuse a number of attention heads that does not divide the student's width, before any teacher is loaded."""
    student, projector = recipe.student, recipe.student.projector
    if "num_heads" not in find_projector(projector.kind).options or student.network:
        return  # a network's width is found in `beforehand.py`
    size = VIT_SIZES.get(student.size, {})
    dim = int(student.dim or size.get("dim", 0))
    refuse_heads(projector, dim, int(student.num_heads or size.get("num_heads", 1)))


def refuse_heads(projector: ProjectorConfig, dim: int, own: int) -> None:
    """Refuse a projector whose number of attention heads (by default the student's own) does not divide a width."""
    heads = projector.num_heads or (RADIO_HEADS if projector.kind == "radio_attention" else own)
    if "num_heads" in find_projector(projector.kind).options and dim % heads:
        raise ConfigError(
            f"student.projector.num_heads = {heads} does not divide the student's width {dim}. Choose a divisor."
        )
