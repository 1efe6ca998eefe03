"""What a source was, and what is said when it is another."""

import os
from pathlib import Path

import pytest
from sample_pictures import write_pictures

from codistill.data import SourceConfig, open_source
from codistill.data import fingerprint as under_test
from codistill.data.fingerprint import SourceState, state_of, what_changed
from codistill.data.packing import pack_source


def state(path: Path | str, **options: object) -> SourceState:
    return state_of(open_source(SourceConfig(name="s", path=str(path), **options)))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "i", [f"{n}.jpg" for n in range(6)])
    for path in (tmp_path / "i").iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return tmp_path / "i"


def test_nothing_is_said_of_the_same_images(folder: Path, tmp_path: Path) -> None:
    before = state(folder)
    assert what_changed(before, state(folder)) == ""
    pack_source(open_source(SourceConfig(name="s", path=str(folder))), tmp_path / "p")
    packed = state(tmp_path / "p")  # the same names in another form
    assert what_changed(before, packed) == (
        f"the 6 images of before, by name and size, now read from {tmp_path / 'p'}, before from {folder}"
    )
    generated = SourceConfig(name="s", path="5", kind="generated")
    assert what_changed(*[state_of(open_source(generated))] * 2) == ""


def test_every_change_is_named(folder: Path) -> None:
    before = state(folder)
    os.utime(folder / "1.jpg", ns=(10**18, 10**18 + 1))
    assert what_changed(before, state(folder)) == "files of equal size but changed at another time: 1.jpg"
    (folder / "2.jpg").write_bytes(b"x")
    (folder / "3.jpg").unlink()
    write_pictures(folder, ["new.jpg"])
    assert what_changed(before, state(folder)) == (
        "new: new.jpg; gone: 3.jpg; files of another size: 2.jpg; "
        "files of equal size but changed at another time: 1.jpg"
    )
    assert (
        what_changed(before, state(folder, exclude=("[0-4].jpg",)))
        == "2 images, before 6; new: new.jpg; gone: 0.jpg, 1.jpg, 2.jpg and 2 others"
    )
    listing = folder / "l.txt"
    listing.write_text("".join(f"{n}.jpg\n" for n in (5, 4)))
    first = state(listing)
    listing.write_text("".join(f"{n}.jpg\n" for n in (4, 5)))
    assert what_changed(first, state(listing)) == "another order of the images"


def test_large_sources_are_looked_at_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "NAMED", 2)
    before = state(folder)
    assert [name for name, *_ in before.files] == ["0.jpg", "3.jpg"]
    os.utime(folder / "1.jpg")
    assert what_changed(before, state(folder)) == "files changed that are not among the 2 kept by name"
    (folder / "1.jpg").rename(folder / "11.jpg")
    assert what_changed(before, state(folder)) == "other names or another order"


def test_names_of_all_kinds_of_sources_are_those_of_their_images(folder: Path, tmp_path: Path) -> None:
    pack_source(open_source(SourceConfig(name="s", path=str(folder))), tmp_path / "p")
    for path in (folder, tmp_path / "p"):
        for exclude in ((), ("[13].jpg",)):
            source = open_source(SourceConfig(name="s", path=str(path), exclude=exclude))
            assert list(source.names()) == [source.name_of(n) for n in range(len(source))]
