"""Augmentation: drawn like torchvision draws, applied like torchvision applies, at any implementation."""

import numpy as np
import pytest
import torch
from sample_pictures import encoded, picture
from torchvision.transforms import v2

from codistill.data.augment import (
    AugmentConfig,
    AugmentParams,
    augment_image,
    draw_params,
    evaluation_image,
)
from codistill.data.augment.crop import decode_crop
from codistill.data.augment.device import pack_params, photometric_batch
from codistill.data.augment.fast import photometric
from codistill.data.augment.reference import augment_reference
from codistill.data.randomness import AUGMENT, generator
from codistill.errors import ConfigError
from codistill.imaging import read_header

SIZE = 112


def psnr(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(-10 * (found.double() - wanted.double()).square().mean().clamp_min(1e-12).log10())


def as_unit(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) / 255


def params(**changes: object) -> AugmentParams:
    neutral = {"top": 10, "left": 20, "height": 120, "width": 150, "flip": False, "jitter": ()}
    neutral |= {"grayscale": False, "blur_sigma": None, "solarize": False}
    return AugmentParams(**{**neutral, **changes})  # type: ignore[arg-type]


def ks_distance(one: np.ndarray, other: np.ndarray) -> float:
    grid = np.sort(np.concatenate([one, other]))
    cdf = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (one, other)]
    return float(np.abs(cdf[0] - cdf[1]).max())


@pytest.mark.parametrize("shape", [(480, 640), (300, 900), (1000, 200)])
def test_crops_are_distributed_as_torchvisions(shape: tuple[int, int]) -> None:
    config, count = AugmentConfig(), 3000
    ours = [draw_params(config, generator(0, AUGMENT, n), *shape) for n in range(count)]
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(SIZE, config.scale, config.ratio)
    theirs = [transform.make_params([torch.empty(3, *shape)]) for _ in range(count)]
    for name in ("top", "left", "height", "width"):
        one, other = (
            np.array(x, float) for x in ([getattr(p, name) for p in ours], [p[name] for p in theirs])
        )
        # 0.05 is the distance that equal distributions exceed once in a thousand times.
        assert ks_distance(one, other) < 0.05, name


def test_colours_are_distributed_as_published() -> None:
    config, count = AugmentConfig(), 6000
    drawn = [draw_params(config, generator(1, AUGMENT, n), 480, 640) for n in range(count)]
    for name, chance in (("flip", 0.5), ("grayscale", 0.2), ("solarize", 0.2)):
        assert abs(np.mean([getattr(p, name) for p in drawn]) - chance) < 0.02
    sigmas = np.array([p.blur_sigma for p in drawn if p.blur_sigma is not None])
    assert abs(len(sigmas) / count - 0.2) < 0.02
    uniform = np.linspace(0, 1, 4001)
    assert ks_distance(sigmas, 0.1 + 4.9 * uniform) < 0.06
    jittered = [dict(p.jitter) for p in drawn if p.jitter]
    assert abs(len(jittered) / count - 0.8) < 0.02
    ranges = {"brightness": (0.6, 0.8), "contrast": (0.6, 0.8), "saturation": (0.8, 0.4), "hue": (-0.1, 0.2)}
    for kind, (low, width) in ranges.items():
        assert ks_distance(np.array([j[kind] for j in jittered]), low + width * uniform) < 0.035
    orders = [tuple(kind for kind, _ in p.jitter) for p in drawn if p.jitter]
    assert len(set(orders)) == 24
    assert abs(np.mean([order[0] == "hue" for order in orders]) - 0.25) < 0.025


CHANGES = {
    "crop": {},
    "flip": {"flip": True},
    "brightness up": {"jitter": (("brightness", 1.4),)},
    "brightness down": {"jitter": (("brightness", 0.6),)},
    "contrast up": {"jitter": (("contrast", 1.4),)},
    "contrast down": {"jitter": (("contrast", 0.6),)},
    "saturation": {"jitter": (("saturation", 1.2),)},
    "hue": {"jitter": (("hue", 0.1),)},
    "hue back": {"jitter": (("hue", -0.073),)},
    "grayscale": {"grayscale": True},
    "slight blur": {"blur_sigma": 0.3},
    "strong blur": {"blur_sigma": 5.0},
    "solarize": {"solarize": True},
    "everything": {
        "jitter": (("hue", 0.08), ("contrast", 1.3), ("brightness", 0.8), ("saturation", 1.2)),
        "blur_sigma": 1.0,
        "solarize": True,
    },
}


@pytest.mark.parametrize("case", CHANGES)
def test_each_step_matches_torchvision(case: str) -> None:
    """35 dB is what is promised for 8 bits; the device works in floats, from the same 8-bit crop."""
    one = params(**CHANGES[case])
    image = picture(3, 160, 200)
    data = encoded(image, "PNG")
    wanted = augment_reference(image, one, SIZE, kernel=9, threshold=0.5)
    crop = decode_crop(data, read_header(data), one, SIZE)
    on_device = photometric_batch(as_unit(crop)[None], pack_params([one]), kernel=9, threshold=0.5)[0]
    fast = as_unit(photometric(crop, one, kernel=9, threshold=0.5))
    assert psnr(fast, wanted) >= 35
    assert psnr(on_device, wanted) >= 45


def test_drawn_augmentations_match_torchvision_on_photographs_and_noise() -> None:
    config, worst = AugmentConfig(reduced_decoding=False), {"fast": 99.0, "device": 99.0}
    rng = np.random.default_rng(0)
    packed, crops, references = [], [], []
    for number in range(40):
        image = picture(number, 200, 260)
        if number % 4 == 0:  # fully saturated colours are the hardest for 8-bit hue
            image = (
                (rng.integers(0, 2, (25, 33, 3)) * 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)[:200, :260]
            )
        data = encoded(np.ascontiguousarray(image), "PNG")
        fast, one = augment_image(data, config, generator(0, AUGMENT, number), SIZE)
        wanted = augment_reference(np.ascontiguousarray(image), one, SIZE, kernel=9, threshold=0.5)
        worst["fast"] = min(worst["fast"], psnr(as_unit(fast), wanted))
        crops.append(as_unit(decode_crop(data, read_header(data), one, SIZE)))
        packed.append(one)
        references.append(wanted)
    batch = photometric_batch(torch.stack(crops), pack_params(packed), kernel=9, threshold=0.5)
    worst["device"] = min(psnr(found, wanted) for found, wanted in zip(batch, references, strict=True))
    assert worst["fast"] >= 35 and worst["device"] >= 45, worst


def test_reference_implementation_is_the_reference_in_eight_bits() -> None:
    image = picture(5, 160, 200)
    config = AugmentConfig(implementation="reference")
    found, one = augment_image(encoded(image, "PNG"), config, generator(0, AUGMENT, 3), SIZE)
    wanted = augment_reference(image, one, SIZE, kernel=9, threshold=0.5)
    assert float((as_unit(found) - wanted).abs().max()) <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("turned", [False, True])
def test_reduced_decoding_is_the_same_crop(orientation: int, turned: bool) -> None:
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encoded(picture(2, 960, 1280), "JPEG", quality=95, exif=tags)
    for number in range(4):
        rng = [generator(0, AUGMENT, number) for _ in range(2)]
        full = AugmentConfig.plain()
        crop, one = augment_image(data, full, rng[0], SIZE, turned=turned)
        whole = AugmentConfig(
            jitter=0, grayscale=0, blur=0, solarize=0, reduced_decoding=False, implementation="fast"
        )
        wanted, other = augment_image(data, whole, rng[1], SIZE, turned=turned)
        assert one == other
        assert one.top + one.height <= (1280 if turned ^ (orientation == 6) else 960)
        assert psnr(as_unit(crop), as_unit(wanted)) > 30


def test_turning_is_clockwise() -> None:
    image = picture(4, 60, 90)
    config = AugmentConfig(
        scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, jitter=0, grayscale=0, blur=0, solarize=0
    )
    square = np.ascontiguousarray(image[:, :60])
    crop, _ = augment_image(encoded(square, "PNG"), config, generator(0, AUGMENT, 0), 60, turned=True)
    np.testing.assert_array_equal(crop, np.rot90(square, k=-1))


def test_draws_do_not_depend_on_history_and_attempts_differ() -> None:
    config = AugmentConfig()
    first = draw_params(config, generator(3, AUGMENT, 10, 5, 0), 480, 640)
    draw_params(config, generator(3, AUGMENT, 10, 4, 0), 480, 640)
    assert draw_params(config, generator(3, AUGMENT, 10, 5, 0), 480, 640) == first
    for other in (
        (4, AUGMENT, 10, 5, 0),
        (3, AUGMENT, 11, 5, 0),
        (3, AUGMENT, 10, 6, 0),
        (3, AUGMENT, 10, 5, 1),
    ):
        assert draw_params(config, generator(*other), 480, 640) != first


@pytest.mark.parametrize("shape", [(60, 80), (81, 60), (50, 50), (500, 33)])
def test_evaluation_transform_is_torchvisions(shape: tuple[int, int]) -> None:
    image = picture(6, *shape)
    transform = v2.Compose(
        [v2.Resize(56, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(56)]
    )
    wanted = transform(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(evaluation_image(image, 56), wanted)


def test_tiny_and_extreme_images_are_augmented() -> None:
    for shape in ((1, 1), (1, 50), (50, 1), (2, 3)):
        data = encoded(picture(0, *shape), "JPEG")
        for number in range(5):
            crop, _ = augment_image(data, AugmentConfig(), generator(0, AUGMENT, number), 32)
            assert crop.shape == (32, 32, 3)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'device'"):
        AugmentConfig(implementation="devices")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"flip must be from 0 to 1; got 1\.5"):
        AugmentConfig(flip=1.5)
    with pytest.raises(ConfigError, match=r"scale must be \(low, high\)"):
        AugmentConfig(scale=(0.4, 1.2))
    with pytest.raises(ConfigError, match="blur_kernel must be odd"):
        AugmentConfig(blur_kernel=8)
    with pytest.raises(ConfigError, match="hue must be"):
        AugmentConfig(hue=0.6)
