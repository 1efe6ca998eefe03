"""What is behind a path: folders of files by name and size, a world's folders as that world."""

import shutil
from pathlib import Path

import pytest

from codistill.recipes import contents
from codistill.recipes.contents import content_of
from codistill.world.build import WORLD_FILE


def listed_anew(path: Path) -> str:
    contents._listing.cache_clear()
    return content_of(str(path))


def data(root: Path) -> Path:
    for name, text in (("train/a.jpg", "one"), ("train/b.jpg", "three"), ("list.txt", "a\nb\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_folder_is_its_files_names_and_sizes(tmp_path: Path) -> None:
    first = listed_anew(data(tmp_path / "one"))
    assert first
    copy = shutil.copytree(tmp_path / "one", tmp_path / "elsewhere")
    assert listed_anew(copy) == first
    (copy / "train/._a.jpg").write_text("left by another system")
    assert listed_anew(copy) == first
    (copy / "train/a.jpg").write_text("longer")
    assert listed_anew(copy) != first
    (copy / "train/a.jpg").write_text("one")
    assert listed_anew(copy) == first
    (copy / "train/b.jpg").rename(copy / "train/c.jpg")
    assert listed_anew(copy) != first
    assert content_of(str(tmp_path / "missing")) == content_of("dinov2_vits14") == ""
    (tmp_path / "empty").mkdir()
    assert content_of(str(tmp_path / "empty")) == ""


@pytest.mark.parametrize("within", ["", "objects", "objects/train"])
def test_folders_of_a_world_are_that_world(tmp_path: Path, within: str) -> None:
    folder = tmp_path / "w" / "objects" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "w" / WORLD_FILE).write_text("{}")
    world = content_of(str(tmp_path / "w" / within))
    (folder / "shard-000000.tar").write_text("rendered on another machine, other bytes")
    assert world and listed_anew(tmp_path / "w" / within) == world
    (tmp_path / "w" / WORLD_FILE).write_text('{"seed": 1}')
    assert listed_anew(tmp_path / "w" / within) != world


def test_an_encoder_within_a_world_is_its_weights(tmp_path: Path) -> None:
    (tmp_path / WORLD_FILE).write_text("{}")
    encoder = tmp_path / "heads" / "encoder"
    encoder.mkdir(parents=True)
    (encoder / "encoder.safetensors").write_bytes(b"one")
    first = content_of(str(encoder))
    (encoder / "encoder.safetensors").write_bytes(b"other")
    assert content_of(str(encoder)) != first
