"""Batches: the same for any workers, ranks and starts; bad images replaced and listed; evaluation complete."""

import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import encoded, picture, write_pictures

from codistill.data import (
    AugmentConfig,
    LoaderConfig,
    MixConfig,
    SourceConfig,
    batches,
    eval_loader,
    steps_per_epoch,
    train_loader,
)
from codistill.data.files import FileSource
from codistill.data.opening import open_source
from codistill.data.packing import pack_source
from codistill.errors import ConfigError, DataError, StoreError
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, Batch

SMALL = LoaderConfig(batch_size=12, image_size=56, num_workers=0)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[SourceConfig, ...]:
    counts = {"photos": ("generic", 20), "rooms": ("3d", 9), "people": ("human", 5)}
    for name, (_, count) in counts.items():
        write_pictures(tmp_path / name, [f"{n:03d}.jpg" for n in range(count)])
    return tuple(
        SourceConfig(name=name, domain=domain, path=str(tmp_path / name))
        for name, (domain, _) in counts.items()
    )


def load(sources: tuple[SourceConfig, ...], config: LoaderConfig = SMALL, **options: object) -> list[Batch]:
    options = {"seed": 3, "total_steps": 4, **options}
    augment = options.pop("augment", AugmentConfig())
    mix = options.pop("mix", MixConfig())
    return list(train_loader(sources, mix, augment, config, **options))  # type: ignore[arg-type]


def test_batches_say_where_their_images_come_from(sources) -> None:
    batch = load(sources)[0]
    assert batch.images.shape == (12, 3, 56, 56) and batch.images.dtype == torch.float32
    assert batch.images.is_contiguous()
    assert batch.domains == ("generic",) * 4 + ("3d",) * 4 + ("human",) * 4
    assert batch.sources == ("photos",) * 4 + ("rooms",) * 4 + ("people",) * 4
    assert all(name.endswith(".jpg") for name in batch.names) and batch.bad == ()
    assert abs(float(batch.images.mean())) < 2 and 0.3 < float(batch.images.std()) < 2.5


def test_pixels_are_the_whole_image_normalized(sources) -> None:
    """With nothing left to chance a batch is what Pillow and arithmetic give."""
    whole = AugmentConfig(
        scale=(1, 1), ratio=(4 / 3, 4 / 3), flip=0, jitter=0, grayscale=0, blur=0, solarize=0
    )
    batch = load(sources, augment=whole)[0]
    image = Image.open(Path(sources[0].path) / batch.names[0])
    pixels = np.asarray(image.resize((56, 56), Image.Resampling.BICUBIC)) / 255
    wanted = (pixels - IMAGENET_MEAN) / IMAGENET_STD
    found = batch.images[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 3.5 / 255 / 0.224 and np.abs(found - wanted).mean() < 0.005


def test_ranks_share_the_batch_of_one_process(sources) -> None:
    alone = load(sources)
    for world_size in (2, 3):
        ranks = [load(sources, rank=rank, world_size=world_size) for rank in range(world_size)]
        for step in range(4):
            for rank in range(world_size):
                torch.testing.assert_close(
                    ranks[rank][step].images, alone[step].images[rank::world_size], atol=0, rtol=0
                )
                assert ranks[rank][step].names == alone[step].names[rank::world_size]


def test_any_step_can_be_the_first(sources) -> None:
    later = load(sources, start_step=2)
    assert len(later) == 2
    for one, other in zip(later, load(sources)[2:], strict=True):
        assert torch.equal(one.images, other.images) and one.names == other.names
    assert not torch.equal(load(sources, seed=4)[0].images, load(sources)[0].images)


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_workers_change_nothing(sources, kind: str, tmp_path: Path) -> None:
    if kind == "shards":
        for source in sources:
            pack_source(open_source(source), tmp_path / "packed" / source.name, images_per_shard=4)
        sources = tuple(
            SourceConfig(name=s.name, domain=s.domain, path=str(tmp_path / "packed" / s.name))
            for s in sources
        )
    state = torch.get_rng_state()
    alone = load(sources)
    many = load(sources, LoaderConfig(batch_size=12, image_size=56, num_workers=2, prefetch=1))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is the user's
    for one, other in zip(alone, many, strict=True):
        assert torch.equal(one.images, other.images) and one.names == other.names


def test_image_size_may_follow_the_step(sources) -> None:
    batches = load(sources, size_of_step=lambda step: 28 * (1 + step % 2))
    assert [batch.images.shape[-1] for batch in batches] == [28, 56, 28, 56]


def test_device_implementation_is_the_same_to_eight_bits(sources) -> None:
    one = load(sources, augment=AugmentConfig(implementation="device"))[0].images
    other = load(sources, augment=AugmentConfig(implementation="reference"))[0].images
    assert one.is_contiguous()
    error = (one - other).flatten(1).square().mean(1)
    # Only the resized crop was rounded to 8 bits: 1/255 is 0.017 in normalized units.
    assert float(error.max().sqrt()) < 0.03


def test_bad_images_are_replaced_by_others_of_their_domain_and_listed(sources) -> None:
    people = Path(sources[2].path)
    (people / "001.jpg").write_bytes(b"")
    cut = encoded(picture(1))
    (people / "003.jpg").write_bytes(cut[: len(cut) * 3 // 4])
    batches = load(sources)
    bad = [one for batch in batches for one in batch.bad]
    assert bad and {one.name for one in bad} == {"001.jpg", "003.jpg"}
    assert {one.source for one in bad} == {"people"}
    assert any("0 bytes" in one.reason for one in bad) and any("truncated" in one.reason for one in bad)
    for batch in batches:
        assert batch.domains[8:] == ("human",) * 4
        assert not {"001.jpg", "003.jpg"} & set(batch.names[8:])
    again = load(sources)
    assert all(torch.equal(one.images, other.images) for one, other in zip(batches, again, strict=True))


ODD = {
    "exif.jpg": (
        "JPEG",
        "RGB",
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    ),
    "cmyk.jpg": ("JPEG", "CMYK", {}),
    "grey.jpg": ("JPEG", "L", {}),
    "16bit.png": ("PNG", "I;16", {}),
    "16bit.tiff": ("TIFF", "I;16", {}),
    "palette.png": ("PNG", "P", {}),
    "alpha.png": ("PNG", "RGBA", {}),
    "grey-alpha.png": ("PNG", "LA", {}),
    "bilevel.png": ("PNG", "1", {}),
    "animated.gif": ("GIF", "P", {"save_all": True, "append_images": [Image.new("P", (80, 60))]}),
    "animated.webp": ("WEBP", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (80, 60))]}),
}
BAD = ("bomb.png", "empty.jpg", "float.tiff", "html.jpg", "truncated.jpg", "truncated.png")


@pytest.mark.parametrize("implementation", ["fast", "reference", "device"])
def test_every_kind_of_image_is_used_or_counted(implementation: str, tmp_path: Path) -> None:
    for name, (kind, mode, options) in ODD.items():
        image = Image.fromarray(picture(1))
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey) if mode == "I;16" else image.convert(mode)
        image.save(tmp_path / name, kind, **options)
    Image.fromarray(np.ones((60, 80), np.float32)).save(tmp_path / "float.tiff")
    Image.new("1", (1600, 1400)).save(tmp_path / "bomb.png")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for name, kind in (("truncated.jpg", "JPEG"), ("truncated.png", "PNG")):
        whole = encoded(noise, kind)
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "html.jpg").write_text("<html>404</html>")
    source = (SourceConfig(name="odd", path=str(tmp_path)),)
    config = LoaderConfig(batch_size=17, image_size=28, num_workers=0, max_pixels=2_000_000)
    augment = AugmentConfig(implementation=implementation)  # type: ignore[arg-type]
    batches = load(source, config, augment=augment, mix=MixConfig(mode="proportional"), total_steps=1)
    bad = {one.name: one.reason for batch in batches for one in batch.bad}
    assert set(bad) == set(BAD)
    assert "2000000 allowed" in bad["bomb.png"] and "0 bytes" in bad["empty.jpg"]
    assert set(batches[0].names) == set(ODD) and bool(batches[0].images.isfinite().all())


def test_a_domain_without_good_images_stops_the_run_and_names_them(sources) -> None:
    for path in Path(sources[2].path).glob("*.jpg"):
        path.write_bytes(b"not an image")
    config = LoaderConfig(batch_size=12, image_size=56, num_workers=0, max_attempts=7)
    with pytest.raises(DataError, match=r"7 images in a row could not be used(.|\n)*people: 00\d\.jpg"):
        load(sources, config)


def test_evaluation_shows_every_image_once_in_order(sources) -> None:
    (Path(sources[0].path) / "004.jpg").write_bytes(b"")
    batches = list(eval_loader(sources, SMALL))
    names = [pair for batch in batches for pair in zip(batch.sources, batch.names, strict=True)]
    wanted = [("photos", f"{n:03d}.jpg") for n in range(20) if n != 4]
    wanted += [("rooms", f"{n:03d}.jpg") for n in range(9)] + [("people", f"{n:03d}.jpg") for n in range(5)]
    assert names == wanted
    assert [one.name for batch in batches for one in batch.bad] == ["004.jpg"]
    split = [list(eval_loader(sources, SMALL, rank=rank, world_size=3)) for rank in range(3)]
    together = [pair for part in split for b in part for pair in zip(b.sources, b.names, strict=True)]
    assert sorted(together) == sorted(wanted)
    images = torch.cat([batch.images for batch in split[0]])
    everything = torch.cat([batch.images for batch in eval_loader(sources, SMALL)])
    torch.testing.assert_close(images[0], everything[0])


def test_an_evaluation_that_ends_in_bad_images_lists_them(sources) -> None:
    last = (sources[2],)
    for name in ("003.jpg", "004.jpg"):
        (Path(last[0].path) / name).write_bytes(b"")
    config = LoaderConfig(batch_size=3, image_size=28, num_workers=0)
    batches = list(eval_loader(last, config))
    assert len(batches) == 1 and len(batches[0]) == 3
    assert [one.name for one in batches[0].bad] == ["003.jpg", "004.jpg"]


def test_an_evaluation_does_not_go_on_without_what_a_store_fails_to_give(
    sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FileSource.read

    def failing(self: FileSource, index: int) -> bytes:
        if self.name_of(index) == "013.jpg":
            raise StoreError("the store failed for 600 s")
        return read(self, index)

    monkeypatch.setattr(FileSource, "read", failing)
    with pytest.raises(StoreError, match="the store failed"):
        list(eval_loader(sources, SMALL))


def test_a_worker_that_dies_is_reported(sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: int, loading: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(batches, "_start_worker", die)
    config = LoaderConfig(batch_size=12, image_size=56, num_workers=1, start_method="fork")
    with pytest.raises(DataError, match=r"a loader worker died: .*use fewer workers"):
        load(sources, config)


def test_steps_per_epoch_is_a_pass_over_the_largest_domain(sources) -> None:
    assert steps_per_epoch(sources, MixConfig(), 12) == 5
    assert steps_per_epoch(sources, MixConfig(mode="proportional"), 12) == 3


def test_mistakes_are_named(sources) -> None:
    with pytest.raises(ConfigError, match="12 must be a multiple of the number of ranks; rank 0 of 5"):
        load(sources, world_size=5)
    with pytest.raises(ConfigError, match="sources need different names"):
        load((*sources, sources[0]))
    with pytest.raises(ConfigError, match="num_workers must be 0 or more"):
        LoaderConfig(num_workers=-1)
    with pytest.raises(ConfigError, match="image_size must be positive"):
        LoaderConfig(image_size=0)
    with pytest.raises(ConfigError, match="start_method must be one of"):
        LoaderConfig(start_method="thread")  # type: ignore[arg-type]


def test_sources_travel_small(sources) -> None:
    opened = open_source(sources[0])
    assert len(pickle.dumps(opened)) < 3000
    assert np.array_equal(pickle.loads(pickle.dumps(opened)).load_rgb(3), opened.load_rgb(3))
