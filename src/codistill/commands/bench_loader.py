"""`codistill bench loader`: images per second and core of the augmentation, beside plain torchvision v2.

Same files, same run, one thread: a plain pipeline as anyone would write it (Pillow, `torchvision.transforms.v2`,
normalized float at the end), our `reference` (its functions with our drawn parameters) and `fast`.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision.transforms import v2

from codistill.commands.parsers.bench_loader import parse
from codistill.data.augment import AugmentConfig, augment_image
from codistill.data.opening import open_source
from codistill.data.randomness import AUGMENT, generator
from codistill.data.source import SourceConfig
from codistill.imaging import FORMATS, resize_rgb
from codistill.imaging.normalize import normalized_in_one_pass
from codistill.tasks.shared.record import write_metrics
from codistill.types import IMAGENET_MEAN, IMAGENET_STD

_PLAIN = ("plain v2, Pillow crops", "plain v2, tensor crops")
Pipeline = Callable[[bytes, int], torch.Tensor]
"""Encoded image and a number to draw from, to a normalized (3, size, size) float image."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = parse(argv)
    images = _small_images(options.images, options.count)
    sets = {
        f"{len(images)} {'' if options.images else 'synthetic '}JPEGs of about {_shape(images[0])}": images
    }
    if options.megapixels > 0:
        large = [_enlarge(data, options.megapixels) for data in images[: options.large_count]]
        sets[f"{len(large)} of them enlarged to about {_shape(large[0])}"] = large
    config = AugmentConfig()
    pipelines: dict[str, Pipeline] = {
        _PLAIN[0]: _plain(config, options.size, tensor_first=False),
        _PLAIN[1]: _plain(config, options.size, tensor_first=True),
        "reference": _ours(AugmentConfig(implementation="reference"), options.size),
        "fast, full decoding": _ours(AugmentConfig(reduced_decoding=False), options.size),
        "fast": _ours(config, options.size),
    }
    table = Table(title=f"Loader at {options.size} px: per core; ratio to the faster plain pipeline")
    for heading in ("pipeline", "images/s", "ms/image", "ratio"):
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    rates: dict[str, dict[str, float]] = {}
    with _single_thread():
        for name, data in sets.items():
            seconds = _measure(pipelines, data, options.repeats)
            rates[name] = {pipeline: 1 / spent for pipeline, spent in seconds.items()}
            table.add_row(f"[bold]{name}")
            for pipeline, spent in seconds.items():
                ratio = min(seconds[plain] for plain in _PLAIN) / spent
                table.add_row(f"  {pipeline}", f"{1 / spent:.0f}", f"{1e3 * spent:.2f}", f"{ratio:.2f}")
            table.add_section()
    Console().print(table)
    if options.json:
        ratios = {name: rate["fast"] / max(rate[plain] for plain in _PLAIN) for name, rate in rates.items()}
        write_metrics(
            options.json,
            {
                "benchmark": "loader",
                "size": options.size,
                "images": len(images),
                "ratio": ratios,
                "images_per_second_and_core": rates,
            },
            ["bench", "loader", *argv],
        )
        print(f"wrote {options.json}")
    return 0


def _plain(config: AugmentConfig, size: int, *, tensor_first: bool) -> Pipeline:
    """The published augmentation, as torchvision's users write it: cropped by Pillow, or as a tensor."""
    jitter = v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)
    blur = v2.GaussianBlur(config.blur_kernel, config.blur_sigma)
    transform = v2.Compose(
        [
            *([v2.ToImage()] if tensor_first else []),
            v2.RandomResizedCrop(
                size, config.scale, config.ratio, interpolation=v2.InterpolationMode.BICUBIC, antialias=True
            ),
            v2.RandomHorizontalFlip(config.flip),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([jitter], config.jitter),
            v2.RandomGrayscale(config.grayscale),
            v2.RandomApply([blur], config.blur),
            v2.RandomSolarize(config.solarize_threshold, config.solarize),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )

    def run(data: bytes, number: int) -> torch.Tensor:
        torch.manual_seed(number)
        return transform(Image.open(io.BytesIO(data), formats=FORMATS).convert("RGB"))

    return run


def _ours(config: AugmentConfig, size: int) -> Pipeline:
    def run(data: bytes, number: int) -> torch.Tensor:
        crop, _ = augment_image(data, config, generator(0, AUGMENT, number), size)
        return normalized_in_one_pass(torch.from_numpy(crop)[None])[0]

    return run


def _measure(pipelines: dict[str, Pipeline], images: Sequence[bytes], repeats: int) -> dict[str, float]:
    """Seconds of CPU per image: for each image the best of `repeats` passes, pipelines taking turns.

    Every pass draws the same parameters, and the pipelines' parameters have one distribution; CPU time, turns and
    minima keep out what else the machine does.
    """
    best = {name: np.full(len(images), np.inf) for name in pipelines}
    for _ in range(repeats):
        for number, data in enumerate(images):
            for name, pipeline in pipelines.items():
                start = time.process_time()
                pipeline(data, number)
                best[name][number] = min(best[name][number], time.process_time() - start)
    return {name: float(seconds.mean()) for name, seconds in best.items()}


@contextmanager
def _single_thread() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _small_images(folder: str | None, count: int) -> list[bytes]:
    if folder is None:
        return [_synthetic(number) for number in range(count)]
    source = open_source(SourceConfig(name="bench", path=folder))
    return [source.read(index) for index in range(min(count, len(source)))]


def _synthetic(number: int) -> bytes:
    """A 640x480 JPEG with structure at all scales (noise of five octaves), of about the size of a photograph's."""
    rng = np.random.default_rng(number)
    image = np.zeros((480, 640, 3), np.float32)
    for octave in range(2, 7):
        cells = rng.normal(size=(480 >> octave, 640 >> octave, 3)).astype(np.float32)
        image += cv2.resize(cells, (640, 480), interpolation=cv2.INTER_CUBIC) * 1.5 ** (octave - 6)
    return _jpeg(np.clip(image * 50 + 128, 0, 255).astype(np.uint8))


def _enlarge(data: bytes, megapixels: float) -> bytes:
    image = np.asarray(Image.open(io.BytesIO(data), formats=FORMATS).convert("RGB"))
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    rows, columns = (round(side * factor) for side in image.shape[:2])
    return _jpeg(resize_rgb(image, (rows, columns)))


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _shape(data: bytes) -> str:
    width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
    return f"{width}x{height}"
