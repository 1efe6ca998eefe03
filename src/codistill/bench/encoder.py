"""Benchmark of an encoder's forward pass: an encoder and an image size in, images per second and the floor out.

The floor is the time of the pass's matrix products alone. On request, timm's vision transformer of the same sizes, in
fp32 with random weights, is measured in turns with the encoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cosine_similarity

from codistill.bench.products import ProductTimer
from codistill.bench.timing import WARM_UP, Ratio, Timed, ratio, take_turns
from codistill.encoders.base import Encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, MissingExtraError
from codistill.nn.precision import Precision, autocast


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """Measurements of one encoder at one size.

    Attributes:
        encoder, parameters: name and number of parameters.
        size, tokens: side of the images in pixels, and number of their patches.
        batch_size: images per pass.
        seconds, cpu_seconds: wall-clock and processor time of the shortest pass.
        flops: operations of a pass.
        floor, floor_cpu: seconds of these operations at the rate of the pass's own products.
        timm, timm_cpu: time of timm's pass over that of the encoder's, by either clock.
    """

    encoder: str
    parameters: int
    size: int
    tokens: int
    batch_size: int
    seconds: float
    cpu_seconds: float
    flops: int
    floor: float
    floor_cpu: float
    timm: Ratio | None = None
    timm_cpu: Ratio | None = None

    @property
    def images_per_second(self) -> float:
        """Images per second in the shortest pass."""
        return self.batch_size / self.seconds


def bench_encoder(
    name: str,
    encoder: Encoder,
    size: int,
    *,
    batch: int,
    precision: Precision,
    rounds: int,
    device: torch.device,
    against_timm: bool = False,
) -> EncoderSpeed:
    """Measure an encoder at one size, rounded to whole patches, in turns with its products alone.

    Args:
        precision: precision of autocast, which does not change an encoder that was loaded in a precision.
        against_timm: measure timm's network too.

    Raises:
        ConfigError: for `against_timm`, if the encoder is not one of codistill's vision transformers, or timm has no
            such network.
    """
    patch = encoder.spec.patch_size
    side = max(1, round(size / patch))
    images = torch.randn(batch, 3, side * patch, side * patch, device=device)

    @torch.inference_mode()
    def run() -> None:
        with autocast(device, precision):
            encoder(images)

    for _ in range(WARM_UP):
        run()
    passes, products = Timed(run, device), ProductTimer(run, device)
    theirs = Timed(_timm_pass(encoder, images), device) if against_timm else None
    if theirs is not None:
        for _ in range(WARM_UP):
            theirs.call()
    take_turns(rounds, *(one.measure for one in (passes, theirs, products) if one is not None))
    return EncoderSpeed(
        encoder=name,
        parameters=encoder.num_parameters,
        size=side * patch,
        tokens=side * side,
        batch_size=batch,
        seconds=passes.best.wall,
        cpu_seconds=passes.best.cpu,
        flops=products.flops,
        floor=products.floor(),
        floor_cpu=products.floor("cpu"),
        timm=None if theirs is None else ratio(theirs.best.walls, passes.best.walls),
        timm_cpu=None if theirs is None else ratio(theirs.best.cpus, passes.best.cpus),
    )


@dataclass(frozen=True, kw_only=True)
class TokenError:
    """Difference between the patch tokens of an encoder and those of the exact one, on the same images.

    Attributes:
        images, size: number of images, and their side in pixels.
        relative: norm of the difference over the norm of the exact tokens.
        cosine, cosine_worst: mean and smallest cosine similarity of a token to its exact counterpart.
    """

    images: int
    size: int
    relative: float
    cosine: float
    cosine_worst: float


@torch.inference_mode()
def token_error(
    encoder: Encoder,
    exact: Encoder,
    images: Sequence[bytes],
    size: int,
    precision: Precision,
    device: torch.device,
) -> TokenError:
    """Measure the error of patch tokens that a precision causes.

    Args:
        encoder, exact: the same network, on the device.
        images: encoded image files.
        size: side in pixels, rounded to whole patches.
        precision: precision of autocast around `encoder`.
        device: device of both encoders.
    """
    pixels = exact.preprocess(images, (size, size))
    with autocast(device, precision):
        found = encoder(pixels).patches.float()
    expected = exact(pixels).patches
    similarity = cosine_similarity(found, expected, dim=-1)
    return TokenError(
        images=len(pixels),
        size=pixels.shape[-1],
        relative=float((found - expected).norm() / expected.norm()),
        cosine=float(similarity.mean()),
        cosine_worst=float(similarity.min()),
    )


def _timm_pass(encoder: Encoder, images: torch.Tensor) -> Callable[[], object]:
    """The forward pass of timm's network of the same sizes as an encoder."""
    config = encoder.config if isinstance(encoder, ViTEncoder) else None
    if config is None or config.position != "learned" or config.feed_forward != "gelu":
        raise ConfigError(
            f"{encoder.spec.name}: --against timm builds timm's plain vision transformer of the same sizes, and this "
            "is none: it needs learned positions and a GELU"
        )
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise MissingExtraError("timm", "timm", "--against timm") from error
    network = VisionTransformer(
        img_size=tuple(images.shape[-2:]),  # type: ignore[arg-type]
        patch_size=config.patch_size,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.hidden_size / config.dim,
        init_values=config.layer_scale,
        class_token=config.has_cls,
        reg_tokens=config.num_registers,
        global_pool="token" if config.has_cls else "avg",
        num_classes=0,
    )
    network = network.eval().to(images.device)

    @torch.inference_mode()
    def run() -> None:
        network.forward_features(images)

    return run
