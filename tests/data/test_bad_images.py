"""One image that costs too much, or cannot be used: counted and passed over, by training and by evaluation."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_pictures import encoded, picture, write_pictures

from codistill.data import AugmentConfig, LoaderConfig, MixConfig, SourceConfig
from codistill.data.augment import augment_image, evaluation_image
from codistill.data.loader import eval_loader, train_loader
from codistill.data.opening import open_source
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.extraction.images import image_batches
from codistill.types import BadImage, Batch

STRIPS = {
    "1x60000": (1, 60_000),
    "60000x1": (60_000, 1),
    "2x40000": (2, 40_000),
    "1x1": (1, 1),
    "3x2": (3, 2),
}


def train(folder: Path, implementation: str, steps: int = 1) -> list[Batch]:
    config = LoaderConfig(batch_size=8, image_size=56, num_workers=0)
    augment = AugmentConfig(implementation=implementation)  # type: ignore[arg-type]
    mix = MixConfig(mode="proportional")
    source = (SourceConfig(name="s", path=str(folder)),)
    return list(train_loader(source, mix, augment, config, seed=0, total_steps=steps))


def evaluate(folder: Path, size: int = 56) -> list[Batch]:
    config = LoaderConfig(batch_size=4, image_size=size, num_workers=0)
    return list(eval_loader((SourceConfig(name="s", path=str(folder)),), config))


def bad_of(batches: list[Batch]) -> dict[str, str]:
    return {one.name: one.reason for batch in batches for one in batch.bad}


@pytest.mark.parametrize("implementation", ["fast", "reference", "device"])
def test_strips_are_used_in_training_validation_and_extraction(implementation: str, tmp_path: Path) -> None:
    for name, shape in STRIPS.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(np.full((*shape, 3), 200, np.uint8), "PNG"))
    wanted = {f"{name}.png" for name in STRIPS}
    names = {name for batch in train(tmp_path, implementation, steps=2) for name in batch.names}
    assert names == wanted
    batches = evaluate(tmp_path, 336)
    assert {name for batch in batches for name in batch.names} == wanted and not bad_of(batches)
    source = open_source(SourceConfig(name="s", path=str(tmp_path)))
    for fit in ("crop", "squash"):
        (batch,) = image_batches(source, [range(5)], size=28, fit=fit, workers=0, device=_cpu())
        assert not batch.bad
        assert (
            float(batch.images.std(dim=(2, 3)).max()) < 1e-5
        )  # one grey, not black where something is missing


def _cpu():
    import torch

    return torch.device("cpu")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 60_000), st.booleans(), st.sampled_from([14, 56, 336]))
def test_random_strips_come_out_square(shorter: int, longer: int, tall: bool, size: int) -> None:
    shape = (longer, shorter) if tall else (shorter, longer)
    image = np.broadcast_to(np.uint8(77), (*shape, 3))
    np.testing.assert_array_equal(evaluation_image(image, size), np.full((size, size, 3), 77))
    square = ImageVectors(resize=size, crop=size).prepared(image)
    np.testing.assert_array_equal(square, np.full((size, size, 3), 77))
    data = encoded(np.ascontiguousarray(image), "PNG")
    crop, _ = augment_image(data, AugmentConfig.plain(), np.random.default_rng(0), size)
    np.testing.assert_array_equal(crop, np.full((size, size, 3), 77))


@pytest.mark.parametrize("aspect", [1.0, 2.0, 15.9])
def test_images_that_are_no_strips_are_evaluated_as_before(aspect: float) -> None:
    from codistill.imaging import resize_rgb

    image = picture(3, 40, round(40 * aspect))
    whole = resize_rgb(image, (28, max(28, int(28 * image.shape[1] / 40))))
    left = round((whole.shape[1] - 28) / 2)
    np.testing.assert_array_equal(evaluation_image(image, 28), whole[:, left : left + 28])


def test_pipes_and_foreign_files_are_counted(tmp_path: Path) -> None:
    good = ["000.jpg", "001.jpg", "002.png"]
    write_pictures(tmp_path, good)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([*good, "pipe.jpg", "script.jpg", "gone.jpg"]))
    bad = bad_of(evaluate(listed))
    assert set(bad) == {"pipe.jpg", "script.jpg", "gone.jpg"}
    assert "named pipe" in bad["pipe.jpg"]
    assert set(bad_of(train(listed, "fast", steps=3))) == set(bad)


@pytest.mark.parametrize("place", ["decoding", "colours", "resizing"])
@pytest.mark.parametrize(
    "error",
    [MemoryError(), cv2.error("OpenCV: Insufficient memory"), RuntimeError("can't allocate memory: 9 bytes")],
    ids=["memory", "opencv", "torch"],
)
def test_memory_and_opencv_errors_make_one_image_bad(
    place: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        Image.fromarray(picture(number, 90 if number == 2 else 60, 80)).save(tmp_path / f"{number}.jpg")

    where = {
        "decoding": "codistill.imaging.decode.decode_jpeg",
        "colours": "codistill.data.augment.pipeline.photometric",
        "resizing": "codistill.imaging.resize.interpolate",
    }[place]
    module, name = where.rpartition(".")[::2]
    real = getattr(__import__(module, fromlist=[name]), name)
    calls = 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(where, failing)
    if place != "colours":
        bad = [one for batch in evaluate(tmp_path) for one in batch.bad]
        assert [type(one) for one in bad] == [BadImage] and bad[0].name == "1.jpg"
    calls = 0
    batches = train(tmp_path, "fast")
    assert len(batches[0]) == 8 and len(batches[0].bad) == 1
