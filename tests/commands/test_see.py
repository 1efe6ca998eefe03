"""`codistill see` as a user types it: sheets, arrays, JSON, GLB; several views; videos."""

import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "perception"))

from toy_heads import ENCODER, SIZE, dense_heads, photo

from codistill.cli import main
from codistill.commands.see import _wanted
from codistill.errors import ConfigError

DEVICE = ("--device", "cpu")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folders = dense_heads(tmp_path_factory.mktemp("heads"))
    return tuple(word for name, folder in folders.items() for word in ("--head", f"{name}={folder}"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(photo(1)).save(folder / "a.png")
    Image.fromarray(photo(2, (60, 90))).save(folder / "more" / "b.jpg")
    return folder


def test_a_folder_of_images(
    heads: tuple[str, ...], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert main(["see", str(photos), "--out", str(out), *heads, *DEVICE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith(f"{out / 'more' / 'b.png'}: segmentation: ")
    assert "depth: " in lines[0] and " m to " in lines[0]
    arrays = np.load(out / "more" / "b.npz")
    assert {name: values.shape for name, values in arrays.items()} == {
        "segmentation": (60, 90),
        "depth": (60, 90),
        "normals": (60, 90, 3),
    }
    told = json.loads((out / "a.json").read_text())
    assert told["encoder"]["encoder"] == ENCODER and told["heads"]["depth"]["trained_on"] == "world:toy"
    assert set(told["images"][0]["answers"]) == {"segmentation", "depth", "normals"}
    assert {"preprocess", "encode", "segmentation", "depth", "normals"} <= set(told["seconds"])
    sheet = np.asarray(Image.open(out / "a.png"))
    assert sheet.shape[1] > 3 * 300 and sheet.std() > 20
    glb = (out / "a.glb").read_bytes()
    assert glb[:4] == b"glTF" and b"points" in glb


def test_only_what_is_wanted_as_json(
    heads: tuple[str, ...], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.glb").write_bytes(b"an earlier call's")
    (photos / "c.png").write_bytes(b"no image")
    argv = ["see", str(photos / "*.png"), "--out", str(out), *heads, *DEVICE, "--json", "--want", "normals"]
    assert main([*argv, "--no-glb", "--size", "28"]) == 1
    captured = capsys.readouterr()
    one, other = (json.loads(line) for line in captured.out.splitlines())
    assert set(one["answers"]) == {"normals"} and "error" in other
    assert [Path(file).suffix for file in one["files"]] == [".png", ".json", ".npz"]
    assert "1 of 2 images could not be used" in captured.err
    assert not (out / "a.glb").exists()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--every", "2"], "--every and --max-frames are for videos, and no file is one"),
        (["--together"], "--together takes two or more images"),
        (["--want", "dept"], r"Unknown answer 'dept'\. Did you mean 'depth'"),
        (["--size", "0"], "--size must be 1 or more; got 0"),
        (["--head", "depth"], "expected NAME=PATH"),
        (["--perception", "dune-tiny"], "leave out --encoder and --head"),
        (
            ["--focal", "50", "--want", "normals"],
            "--focal would have no effect: none of normals answers in space",
        ),
        (["--focal", "inf"], "--focal must be above 0 pixels; got inf"),
        (["--other-encoder"], "--other-encoder has no effect without --encoder"),
        (
            ["--encoder", f"{ENCODER},seed=3"],
            f"was fitted on {ENCODER}; {ENCODER},seed=3 gives other features",
        ),
    ],
)
def test_what_is_typed_wrongly(
    more: list[str],
    text: str,
    heads: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    import re

    assert main(["see", str(photos / "a.png"), "--out", str(tmp_path / "out"), *heads, *DEVICE, *more]) == 2
    assert re.search(text, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_head_that_sees_several_images_is_wanted_with_together() -> None:
    class Toy:
        heads = ("depth", "pair")

        def known(self, name: str) -> str:
            return name

        def together(self, name: str) -> bool:
            return name == "pair"

    with pytest.raises(ConfigError, match="--want pair: it sees several images of one place; add --together"):
        _wanted(Toy(), ["pair"], together=False)  # type: ignore[arg-type]
    assert _wanted(Toy(), ["pair"], together=True) == ["pair"]  # type: ignore[arg-type]
    assert _wanted(Toy(), ["depth", "depth"], together=False) == ["depth"]  # type: ignore[arg-type]
    assert _wanted(Toy(), [], together=False) == ["depth", "pair"]  # type: ignore[arg-type]


def test_names_of_perceptions_that_ship(
    heads: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """A folder of models is found by the environment; another name gets a list."""
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    depth = next(word for word in heads if word.startswith("depth=")).partition("=")[2]
    (model / "depth").symlink_to(depth)
    (model / "perception.yaml").write_text("heads: {depth: {path: depth}}\nsize: 28\n")
    monkeypatch.setenv("CODISTILL_MODELS", str(tmp_path / "models"))
    argv = ["see", str(photos / "a.png"), "--out", str(tmp_path / "out"), *DEVICE, "--perception"]
    assert main([*argv, "mine"]) == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["encoder"]["size"] == 28
    assert main([*argv, "mien"]) == 2
    assert "Unknown perception 'mien'. Did you mean 'mine'? Known: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["see", "depth"])
def test_a_command_without_heads_takes_those_that_ship_and_says_so(
    command: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    want = ["--want", "depth", "--no-glb"] if command == "see" else []
    assert main([command, str(photos / "a.png"), "--out", str(tmp_path / "out"), *want, *DEVICE]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("with dune-tiny, a small model that ships; ")
    assert " m to " in captured.out


def test_a_head_is_predicted_beside_heads_that_are_named_or_gone(
    heads: tuple[str, ...], photos: Path, tmp_path: Path
) -> None:
    """Options of the model's perception.yaml are looked up by the head's folder."""
    model = tmp_path / "model"
    shutil.copytree(heads[1].partition("=")[2], model / "heads" / "segmentation")
    text = "heads: {linear: {path: dune-tiny}, segmentation: {path: heads/segmentation}, depth: {path: heads/no}}"
    (model / "perception.yaml").write_text(text)
    argv = ["segment", str(photos / "a.png"), "--head", str(model / "heads" / "segmentation")]
    assert main([*argv, "--out", str(tmp_path / "out"), *DEVICE]) == 0


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pytest.importorskip("av", reason="needs the extra `video`")
    from codistill.perception.video import VideoWriter

    path = tmp_path / "clip.mp4"
    with VideoWriter(path, Fraction(10)) as writer:
        for seed in range(6):
            writer.add(photo(seed, (SIZE, 84)))
    return path


def test_a_video(heads: tuple[str, ...], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every second frame, four... as many as are asked for; one JSON line each, and an MP4 at the lower rate."""
    from codistill.perception.video import VideoReader

    out = tmp_path / "out"
    argv = ["see", str(clip), "--out", str(out), *heads, *DEVICE, "--every", "2", "--max-frames", "2"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert f"{out / 'clip.mp4'}: 2 frames" in captured.out and "seeing clip.mp4" in captured.err
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 2]
    assert [line["time"] for line in lines] == pytest.approx([0.0, 0.2])
    assert set(lines[1]["answers"]) == {"segmentation", "depth", "normals"}
    with VideoReader(out / "clip.mp4") as shown:
        frames = list(shown)
        assert shown.rate == 5
    assert len(frames) == 2 and frames[0].pixels.shape == (2 * SIZE, 3 * 84, 3)
    corner = frames[0].pixels[25:SIZE, :84].astype(int)  # below the name: the image itself, up to compression
    assert np.abs(corner - photo(0, (SIZE, 84))[25:]).mean() < 30


def test_a_damaged_video_is_passed_over(
    heads: tuple[str, ...], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:600])
    assert main(["see", str(broken), "--out", str(tmp_path / "out"), *heads, *DEVICE]) == 2
    said = capsys.readouterr().err
    assert "broken.mp4: is no video that can be read" in said and "Errno" not in said
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_video_that_was_cut_off_is_reported(
    heads: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    av = pytest.importorskip("av", reason="needs the extra `video`")
    cut = tmp_path / "cut.mkv"
    with av.open(str(cut), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = SIZE
        for seed in range(12):
            frame = av.VideoFrame.from_ndarray(photo(seed, (SIZE, SIZE)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    assert main(["see", str(cut), "--out", str(tmp_path / "out"), *heads, *DEVICE]) == 0
    assert "though it announces some 12: it may be cut off" in capsys.readouterr().err


def test_frames_are_upright(tmp_path: Path) -> None:
    """A phone's video says by how much its frames are turned."""
    av = pytest.importorskip("av", reason="needs the extra `video`")
    from codistill.perception.video import Frame, VideoReader

    class Turned:
        def __init__(self, degrees: int) -> None:
            self.rotation, self.time = degrees, 0.0

        def to_ndarray(self, format: str) -> np.ndarray:
            return np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    del av
    reader = object.__new__(VideoReader)
    reader.every, reader.most, reader.path, reader.rate = 1, None, tmp_path, Fraction(1)
    reader._errors, reader._stream = (OSError,), None
    reader._container = type("C", (), {"decode": lambda self, stream: iter([Turned(90), Turned(-90)])})()
    left, right = list(reader)
    assert isinstance(left, Frame) and left.pixels.shape == (4, 2, 3)
    upright = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(left.pixels[0, 0], upright[0, 3])  # counter-clockwise
    np.testing.assert_array_equal(right.pixels[0, 0], upright[1, 0])


def test_a_video_that_is_not_there(
    heads: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("av", reason="needs the extra `video`")
    assert main(["see", str(tmp_path / "gone.mp4"), "--out", str(tmp_path / "out"), *heads, *DEVICE]) == 2
    said = capsys.readouterr().err
    assert "gone.mp4: no such file\n" in said and "Errno" not in said
