"""Which images are meant, what results are called, and that a bad file among good ones is passed over."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.cli import main
from codistill.commands.predicting import (
    SOME_FAILED,
    ImageFile,
    Predicted,
    find_images,
    run_predictions,
    say_repeated,
)
from codistill.errors import ConfigError, DataError
from codistill.student.load import load_student
from codistill.tasks.two_view.reconstruct.images import read_image
from shared_files import golden


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (10, 20, 30)).save(path)
    return path


def names(found: list[ImageFile]) -> list[str]:
    return [image.name for image in found]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "deep/er/c.jpeg", "deep/._c.jpeg", ".ipynb_checkpoints/a.jpg"):
        picture(tmp_path / "photos" / name.replace("._c.jpeg", "d.jpg"))
    (tmp_path / "photos" / "deep" / "._d.jpg").write_bytes(b"Mac OS X")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    assert names(find_images([str(tmp_path / "photos")])) == ["a", "b", "deep/d", "deep/er/c"]
    assert names(find_images([str(tmp_path / "photos" / "a.jpg")])) == ["a"]
    assert names(find_images([str(tmp_path / "photos" / "*.jpg")])) == ["a"]
    assert names(find_images([str(tmp_path / "photos" / "**" / "*.j*")])) == ["a", "d", "c"]
    # Named twice, an image is used once.
    both = find_images([str(tmp_path / "photos" / "a.jpg"), str(tmp_path / "photos")])
    assert names(both) == ["a", "b", "deep/d", "deep/er/c"]


def test_no_result_overwrites_another(tmp_path: Path) -> None:
    for name in ("one/x.jpg", "two/x.jpg", "two/x.png", "two/y.png", "two/X.JPG"):
        picture(tmp_path / name)
    found = find_images([str(tmp_path / "one" / "x.jpg"), str(tmp_path / "two")])
    assert len({name.casefold() for name in names(found)}) == len(found) == 5
    assert "y" in names(found)
    v12 = picture(tmp_path / "v1.2.jpg")
    assert find_images([str(v12)])[0].within(Path("out"), ".npy") == Path("out/v1.2.npy")


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there is no image in this folder"):
        find_images([str(tmp_path / "empty")])
    with pytest.raises(ConfigError, match="no file fits this pattern"):
        find_images([str(tmp_path / "*.jpg")])
    with pytest.raises(ConfigError, match=r"an empty name; the current folder is called \."):
        find_images([""])


def test_no_result_is_written_over_a_given_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    before = image.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert main(["see", str(image), "--perception", "dune-tiny", "--out", str(link)]) == 2
    assert f"{link / 'a.png'} is one of the given files" in capsys.readouterr().err
    picture(tmp_path / "a.depth.png")
    assert main(["depth", str(tmp_path), "--head", "dune-tiny", "--out", str(tmp_path)]) == 2
    assert "a.depth.png is one of the given files" in capsys.readouterr().err
    assert image.read_bytes() == before and sorted(path.name for path in tmp_path.glob("*.*")) == [
        "a.depth.png",
        "a.png",
    ]


def test_no_picture_of_several_images_is_written_over_one_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The preview of a reconstruction lies beside its scene."""
    images = [str(picture(tmp_path / name)) for name in ("a.png", "together.png", "pca.png")]
    before = [Path(image).read_bytes() for image in images]
    encoder = "random:vit_tiny,image_size=28"
    for argv, named in (
        (["reconstruct", *images, "--head", "dune-tiny", "--out", str(tmp_path / "a.ply")], "a.png"),
        (["pca", *images, "--encoder", encoder, "--out", images[0]], "a.png"),
        (["see", *images, "--perception", "dune-tiny", "--together", "--out", str(tmp_path)], "together.png"),
        (["analyze", encoder, "--size", "28", "--images", *images, "--out", str(tmp_path)], "pca.png"),
    ):
        assert main(argv) == 2
        assert f"{named} is one of the given files" in capsys.readouterr().err
    assert [Path(image).read_bytes() for image in images] == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, file = str(picture(tmp_path / "a.jpg")), tmp_path / "file"
    file.write_text("")
    shipped, below = ["--perception", "dune-tiny"], str(file / "scene.ply")
    for argv in (
        ["see", image, *shipped, "--out", str(file)],
        ["see", image, str(picture(tmp_path / "b.jpg")), *shipped, "--together", "--out", str(file)],
        ["depth", image, "--head", "dune-tiny", "--out", str(file)],
        ["pca", image, "--encoder", "no-such-encoder", "--out", str(file / "pca.png")],
        ["reconstruct", image, image, "--head", "dune-tiny", "--out", below],
    ):
        assert main(argv) == 2
        said = capsys.readouterr().err
        assert f"{file} cannot be a folder for output" in said and "Nothing that was" not in said


def test_a_size_below_two_patches_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(picture(tmp_path / "a.jpg"))
    for argv in (
        ["pca", image, "--encoder", "random:vit_tiny,image_size=28", "--out", str(tmp_path / "pca.png")],
        ["see", image, "--perception", "dune-tiny", "--out", str(tmp_path)],
    ):
        assert main([*argv, "--size", "5"]) == 2
        assert "a size of 5 pixels is too small for patches of 14: give 28 or more" in capsys.readouterr().err


def test_a_reconstruction_needs_a_size_and_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["reconstruct", "a.jpg", "b.jpg", "--head", "dune-tiny", "--out"]
    for more, complaint in (
        (["s.ply", "--long-edge", "0"], "--long-edge must be 1 pixel or more; got 0"),
        (["s.ply", "--iterations", "-1"], "iterations must be 0 or more; got -1"),
        (["."], "--out .: name the folder"),
        ([".."], "--out ..: name the folder"),
    ):
        assert main([*argv, *more]) == 2
        assert complaint in capsys.readouterr().err


def test_pictures_given_twice_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    black, white = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    say_repeated([Path("a"), Path("b"), Path("copy of a")], [black, white, black.copy()])
    assert capsys.readouterr().err == "copy of a is the same picture as a: it adds no view\n"


def predicted(pixels: np.ndarray, image: ImageFile) -> Predicted:
    return Predicted("fine", [image.within(Path("out"), ".png")], {"rows": int(pixels.shape[0])})


def test_a_bad_file_is_passed_over_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no image at all")
    picture(tmp_path / "c.jpg")
    images = find_images([str(tmp_path), str(tmp_path / "gone.jpg")])
    assert run_predictions(images, tmp_path / "out", predicted) == SOME_FAILED
    said = capsys.readouterr()
    assert said.out.splitlines() == ["out/a.png: fine", "out/c.png: fine"]
    assert f"passed over {tmp_path / 'gone.jpg'}: no such file\n" in said.err
    assert "b.jpg" in said.err and "2 of 4 images could not be used" in said.err
    assert run_predictions(images[:1], tmp_path / "out", predicted) == 0
    capsys.readouterr()
    assert run_predictions(images[1:2], tmp_path / "out", predicted) == 2


def test_json_has_a_line_for_every_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"")
    images = find_images([str(tmp_path)])
    assert run_predictions(images, tmp_path / "out", predicted, as_json=True) == SOME_FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"image": str(tmp_path / "a.jpg"), "files": ["out/a.png"], "rows": 4}
    assert lines[1]["image"].endswith("b.jpg") and lines[1]["error"]


def test_pca_passes_over_what_cannot_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no image, and a strip that would be enlarged to gigabytes."""
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.new("RGB", (60_000, 1)).save(tmp_path / "strip.png")
    argv = ["pca", str(tmp_path), "--encoder", "random:vit_tiny,image_size=28", "--size", "448"]
    assert main([*argv, "--out", str(tmp_path / "out" / "pca.png")]) == SOME_FAILED
    said = capsys.readouterr()
    assert "1 image(s), 1 encoder(s)" in said.out
    assert said.err.count(f"{tmp_path / 'b.png'}: ") == 1  # an error may name its file itself
    assert "strip.png" in said.err and "2 of 3 images could not be used" in said.err


def test_pca_of_a_teacher_that_nobody_predicts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own features would be shown in place of the projection, and look like one."""
    image, out = picture(tmp_path / "a.png"), tmp_path / "pca.png"
    argv = ["pca", str(image), "--out", str(out), "--size", "28"]
    assert main([*argv, "--encoder", "random:vit_tiny,image_size=28", "--teacher", "t"]) == 2
    assert "--teacher t would have no effect: none of random:vit_tiny" in capsys.readouterr().err
    student = str(golden("dune_nano_released_layout.pth"))
    assert main([*argv, "--encoder", student, "--teacher", "dino3"]) == 2
    assert "Unknown teacher 'dino3'" in capsys.readouterr().err
    known = next(iter(load_student(student).projectors))
    assert main([*argv, "--encoder", student, "--teacher", known, "--no-norm"]) == 2
    assert "--no-norm would have no effect" in capsys.readouterr().err
    assert not out.exists()


def test_pca_refuses_a_picture_that_cannot_be_written_before_it_loads_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    for name, complaint in (
        ("pca.txt", "write pictures as .png"),
        ("folder.png", "is a folder: name a file"),
    ):
        assert main(["pca", str(image), "--encoder", "no-such", "--out", str(tmp_path / name)]) == 2
        assert complaint in capsys.readouterr().err


def test_pca_refuses_to_share_a_basis_with_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, out = picture(tmp_path / "a.png"), tmp_path / "pca.png"
    first, wider = "random:vit_tiny,dim=48,num_heads=2,image_size=28", "random:vit_tiny,image_size=28"
    argv = ["pca", str(image), "--size", "28", "--shared-basis", "--out", str(out), "--encoder", first]
    for more in ([], ["--encoder", wider]):
        assert main([*argv, *more]) == 2
        assert "--shared-basis would have no effect" in capsys.readouterr().err
    assert not out.exists() and main([*argv, "--encoder", f"{first},seed=1"]) == 0


def test_a_full_disk_is_no_bad_image(tmp_path: Path) -> None:
    def full(pixels: np.ndarray, image: ImageFile) -> Predicted:
        raise DataError("out/a.png: cannot be written (No space left on device)")

    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="No space left"):
        run_predictions(find_images([str(tmp_path)]), tmp_path / "out", full)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file, where a folder is needed"):
        run_predictions(find_images([str(tmp_path)]), tmp_path / "file" / "out", predicted)


def test_a_focal_length_that_is_none_of_a_pinhole_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (96, 60)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 9.0).focal == 9.0
    with pytest.raises(ConfigError, match="a focal length of 5 pixels would make 96 pixels see 168 degrees"):
        read_image(tmp_path / "a.png", 5.0)


def test_predictions_of_pairs_are_those_of_a_reconstruction(capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("two-view", "relocalization"):
        assert main(["predict", task, "a.jpg", "b.jpg"]) == 2
        assert "codistill reconstruct IMAGE IMAGE" in capsys.readouterr().err
    assert main(["predict", "correspondence", "a.jpg"]) == 2
    assert "reconstruct" not in capsys.readouterr().err
