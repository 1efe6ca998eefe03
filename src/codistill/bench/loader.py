"""Benchmark of decoding and augmentation in one thread: encoded images in, processor seconds per image out.

Three pipelines run on the same files: a plain one (Pillow, `torchvision.transforms.v2`, normalized floats at the end),
codistill's `reference` (torchvision's functions with codistill's drawn parameters), and `fast`.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from codistill.bench.timing import Timed, take_turns
from codistill.data.augment import AugmentConfig, augment_image
from codistill.data.opening import open_source
from codistill.data.randomness import AUGMENT, generator
from codistill.data.source import SourceConfig
from codistill.imaging import FORMATS, resize_rgb
from codistill.imaging.normalize import normalized_in_one_pass
from codistill.types import IMAGENET_MEAN, IMAGENET_STD

PLAIN = ("plain v2, Pillow crops", "plain v2, tensor crops")
Pipeline = Callable[[bytes, int], torch.Tensor]
"""Function from an encoded image and a random seed to a normalized (3, size, size) float image."""


def pipelines(size: int) -> dict[str, Pipeline]:
    """Every pipeline for crops of this size, by name; those in `PLAIN` are the baselines."""
    config = AugmentConfig()
    return {
        PLAIN[0]: _plain(config, size, tensor_first=False),
        PLAIN[1]: _plain(config, size, tensor_first=True),
        "reference": _ours(AugmentConfig(implementation="reference"), size),
        "fast, full decoding": _ours(AugmentConfig(reduced_decoding=False), size),
        "fast": _ours(config, size),
    }


def _plain(config: AugmentConfig, size: int, *, tensor_first: bool) -> Pipeline:
    """The published augmentation in plain torchvision, on Pillow images or on tensors (`tensor_first`)."""
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


def bench_loader(images: Sequence[bytes], size: int, repeats: int) -> dict[str, float]:
    """Measure CPU seconds per image: the shortest of `repeats` passes for each image, with pipelines in turns.

    Every pass of a pipeline draws the same parameters, and all pipelines draw from the same distribution. CPU time,
    turns and minima remove the influence of other work on the machine.
    """
    timed = {
        name: [Timed(partial(pipeline, data, number)) for number, data in enumerate(images)]
        for name, pipeline in pipelines(size).items()
    }
    with _single_thread():
        take_turns(repeats, *(one.measure for turn in zip(*timed.values(), strict=True) for one in turn))
    return {name: float(np.mean([one.best.cpu for one in each])) for name, each in timed.items()}


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


def small_images(folder: str | None, count: int) -> list[bytes]:
    """The first files of a folder, or synthetic JPEGs."""
    if folder is None:
        return [_synthetic(number) for number in range(count)]
    source = open_source(SourceConfig(name="bench", path=folder))
    return [source.read(index) for index in range(min(count, len(source)))]


def _synthetic(number: int) -> bytes:
    """A 640x480 JPEG with structure at all scales (noise of five octaves), about as many bytes as a photograph."""
    rng = np.random.default_rng(number)
    image = np.zeros((480, 640, 3), np.float32)
    for octave in range(2, 7):
        cells = rng.normal(size=(480 >> octave, 640 >> octave, 3)).astype(np.float32)
        image += cv2.resize(cells, (640, 480), interpolation=cv2.INTER_CUBIC) * 1.5 ** (octave - 6)
    return _jpeg(np.clip(image * 50 + 128, 0, 255).astype(np.uint8))


def enlarged(data: bytes, megapixels: float) -> bytes:
    """Resize an image to a JPEG of this many megapixels."""
    image = np.asarray(Image.open(io.BytesIO(data), formats=FORMATS).convert("RGB"))
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    rows, columns = (round(side * factor) for side in image.shape[:2])
    return _jpeg(resize_rgb(image, (rows, columns)))


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def shape_of(data: bytes) -> str:
    """`WIDTHxHEIGHT` of an encoded image."""
    width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
    return f"{width}x{height}"
