"""One pass of the encoder for all heads, with the same numbers as each head by itself."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_heads import CLASSES, ENCODER, SIZE, dense_head, dense_heads, photo

from codistill import Perception, load_encoder
from codistill.errors import CheckpointError, ConfigError, DataError
from codistill.perception.config import HeadConfig
from codistill.perception.images import seen_size
from codistill.tasks.registry import find_task
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject
from codistill.weights.shipped import find_shipped


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return dense_heads(tmp_path_factory.mktemp("heads"))


class Counted:
    """Images that an encoder encoded, and its passes."""

    def __init__(self, perception: Perception, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images, self.passes = 0, 0
        encoder = perception.encoder
        for name in ("encode", "encode_blocks"):
            monkeypatch.setattr(encoder, name, self._counting(getattr(encoder, name)))

    def _counting(self, function):
        def counted(images, *args):
            self.images += len(images)
            self.passes += 1
            return function(images, *args)

        return counted


def test_every_head_answers_as_by_itself(heads: dict[str, Path]) -> None:
    """At the size that the heads were fitted at, without mirrored images."""
    image = photo()
    scene = Perception(ENCODER, heads, device="cpu")(image)
    alone = {}
    for name, folder in heads.items():
        task = find_task(name)
        options = task.test() if name == "segmentation" else task.test(mirror=False)
        alone[name] = task.load(Subject(head=folder), options, None)(image)
    np.testing.assert_array_equal(scene.segmentation[0].classes, alone["segmentation"])
    np.testing.assert_allclose(scene.depth[0], alone["depth"], rtol=1e-5)
    np.testing.assert_allclose(scene.normals[0], alone["normals"], atol=1e-5)
    assert scene.segmentation[0].names == CLASSES and len(set(alone["segmentation"].ravel())) > 1


def test_answers_do_not_depend_on_the_default_dtype() -> None:
    image = photo()
    expected = Perception.from_pretrained("dune-tiny", device="cpu")(image, want=("depth", "people"))
    expected.compute(("depth", "people"))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = Perception.from_pretrained("dune-tiny", device="cpu")(image, want=("depth", "people"))
        np.testing.assert_array_equal(found.depth[0], expected.depth[0])
        assert len(found.people[0]) == len(expected.people[0])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_using_heads_imports_nothing_that_only_training_needs() -> None:
    code = (
        "import sys, codistill; p = codistill.Perception.from_pretrained('dune-tiny', device='cpu'); "
        "print(sorted({'torchvision', 'torch._dynamo', 'torch.distributed.tensor', 'anny'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"  # each takes a second and more


def test_one_pass_for_all_heads(heads: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of one shape share it; heads that read other states of the tokens need none of their own."""
    perception = Perception(ENCODER, heads, device="cpu")
    counted = Counted(perception, monkeypatch)
    images = [photo(1), photo(2), photo(3, (70, 84))]
    scene = perception(images)
    assert (counted.images, counted.passes) == (3, 2)
    for name in scene.wants():
        for i in range(3):
            scene.draw(name, i)
    assert scene.pca[2].shape == (3, 4, 3) and scene.similar(0, 1, 2)[2].shape == (3, 4)
    assert (counted.images, counted.passes) == (3, 2)


def test_what_a_notebook_prints_is_one_short_line(heads: dict[str, Path]) -> None:
    perception = Perception(ENCODER, {name: heads[name] for name in ("segmentation", "depth")}, device="cpu")
    scene = perception([photo(1), photo(2)], names=["left", "right"])
    assert repr(perception).endswith(f" with segmentation, depth; {perception.size} pixels, on cpu)")
    assert repr(scene) == "Scene(left, right; answers: segmentation, depth)"
    assert repr(scene.depth) == "PerImage(2, each computed when it is indexed)"
    for name in scene.wants():
        answer = scene.answer(name)
        assert repr(answer) == f"{type(answer).__name__}({answer.text()})"


def test_answers_are_lazy_and_computed_once(heads: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    perception = Perception(ENCODER, heads, device="cpu")
    scene = perception([photo(1), photo(2)], want=("depth",))
    assert set(scene.seconds) == {"preprocess", "encode", "depth"}
    assert set(scene.arrays()) == {"0/depth", "1/depth"}
    before = dict(scene.seconds)
    assert scene.depth[1] is scene.depth[-1]
    assert scene.seconds == before
    assert scene.normals[1].shape == (SIZE, SIZE, 3) and set(scene.arrays(1)) == {"depth", "normals"}
    assert set(scene.as_json()["images"][0]["answers"]) == {"depth"}


def test_the_time_of_an_answer_is_without_preparations(heads: dict[str, Path]) -> None:
    """Loading the body model took 2 of the 2.1 seconds that the first image's people seemed to take."""
    scene = Perception(ENCODER, {"depth": heads["depth"]}, device="cpu")(photo())
    asked = []
    opened = scene._heads["depth"]
    sight = replace(opened.sight, prepare=lambda model: asked.append((model, "depth" in scene.seconds)))
    scene._heads["depth"] = replace(opened, sight=sight)
    assert scene.depth[0].shape == (SIZE, SIZE) and "depth" in scene.seconds
    assert asked == [(opened.model, False)]


def test_answers_have_the_size_of_their_image(heads: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(photo(4, (50, 120))).save(path)
    perception = Perception(heads=heads, device="cpu")  # on the encoder that the heads name
    scene = perception([path, Image.open(path), photo(5, (200, 90))])
    assert scene.names == ("wide", "image 2", "image 3")
    for name in scene.wants():
        assert [scene.draw(name, i).shape[:2] for i in range(3)] == [(50, 120), (50, 120), (200, 90)]
    np.testing.assert_array_equal(scene.depth[0], scene.depth[1])
    norms = np.linalg.norm(scene.normals[2], axis=-1)
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((480, 640), 448, (336, 448)), ((480, 640), 224, (168, 224)), ((10, 1000), 56, (14, 56))],
)
def test_sizes_are_whole_patches_of_the_longer_side(shape, size, expected) -> None:
    assert seen_size(shape, size, 14) == expected


def test_another_encoder_is_refused_with_both_names(heads: dict[str, Path]) -> None:
    other = ENCODER + ",seed=7"
    with pytest.raises(ConfigError) as caught:
        Perception(other, {"depth": heads["depth"]}, device="cpu")
    text = str(caught.value)
    assert f"was fitted on {ENCODER}; {other} gives other features" in text
    assert "head 'depth'" in text and "--other-encoder" in text


def test_an_encoder_in_memory_is_shared(heads: dict[str, Path]) -> None:
    encoder = load_encoder(ENCODER)
    perception = Perception(encoder, heads, device="cpu")
    assert perception.encoder is encoder
    assert all(head.features.encoder is encoder for head in perception._heads.values())
    tokens = perception(photo()).tokens[0]
    expected = encoder(encoder.preprocess(photo()))
    torch.testing.assert_close(tokens.patches, expected.patches)


def test_a_perception_and_its_scenes_can_be_sent_to_other_processes(heads: dict[str, Path]) -> None:
    perception, image = Perception(ENCODER, heads, device="cpu"), photo()
    scene = perception(image, want="depth")
    for other in (pickle.loads(pickle.dumps(scene)), pickle.loads(pickle.dumps(perception))(image)):
        np.testing.assert_array_equal(other.depth[0], scene.depth[0])
        np.testing.assert_array_equal(other.segmentation[0].classes, scene.segmentation[0].classes)


def test_facts_of_heads(heads: dict[str, Path]) -> None:
    facts = Perception(ENCODER, heads, device="cpu").heads
    assert list(facts) == list(heads)
    depth = facts["depth"]
    assert (depth.task, depth.trained_on, depth.size) == ("depth", "world:toy", SIZE)
    assert depth.parameters == 16 * (2 * 2 * 48 + 1)


@pytest.mark.parametrize("name", ["features", "image", "encode"])
def test_a_head_is_not_called_as_what_a_scene_itself_has(name: str) -> None:
    """The sheet showed the scene's picture as the head's answer, and the times of both were one sum."""
    with pytest.raises(ConfigError, match=f"cannot be called '{name}'"):
        Perception("dune-tiny", {name: "heads/none"}, device="cpu")


def test_the_name_of_a_model_that_ships_is_its_head(tmp_path: Path) -> None:
    folder = find_shipped("dune-tiny")
    assert folder is not None
    config = tmp_path / "mine.yaml"
    config.write_text("heads:\n  depth: {path: dune-tiny}\n  up: {path: dune-tiny, task: normals}\n")
    for perception in (
        Perception("dune-tiny", {"depth": "dune-tiny", "up": HeadConfig(path="dune-tiny", task="normals")}),
        Perception.from_config(config, device="cpu"),
    ):
        facts = perception.heads
        assert [facts[name].path for name in ("depth", "up")] == [
            str(folder / "heads" / task) for task in ("depth", "normals")
        ]
        assert perception(photo()).depth[0].shape == (SIZE, SIZE)
    with pytest.raises(ConfigError, match="far: dune-tiny is a model with heads for several tasks: name one"):
        Perception(None, {"far": "dune-tiny"})
    with pytest.raises(CheckpointError, match="Did you mean 'dune-tiny'"):
        Perception(None, {"depth": "dune-tinny"})


def test_what_is_asked_wrongly(heads: dict[str, Path], tmp_path: Path) -> None:
    perception = Perception(ENCODER, {"depth": heads["depth"]}, device="cpu")
    with pytest.raises(ConfigError, match=r"Unknown answer 'dept'\. Did you mean 'depth'"):
        perception(photo(), want=("dept",))
    with pytest.raises(ConfigError, match="no head answers with segmentation; heads: depth"):
        _ = perception(photo()).segmentation
    with pytest.raises(ConfigError, match=r"scene\['depth'\]\[0\]; heads: depth"):
        list(perception(photo()))
    with pytest.raises(DataError, match="no images"):
        perception([])
    with pytest.raises(ConfigError, match="outside of the grid of 4x4"):
        perception(photo()).similar(0, 4, 0)
    with pytest.raises(ConfigError, match=r"size must be 1 or more; got \(56, 56\)"):
        perception(photo(), size=(56, 56))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="2 focal lengths for 1 images"):
        perception(photo(), focal=[1.0, 2.0])
    for nowhere in (0.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="must be positive numbers of pixels"):
            perception(photo(), focal=nowhere)
    for fifty in (50, np.float32(50)):
        found = perception(photo(), focal=fifty).camera(0).intrinsics  # type: ignore[arg-type]
        assert torch.equal(found, perception(photo(), focal=50.0).camera(0).intrinsics)
    for size in (0, -14):
        with pytest.raises(ConfigError, match=f"size must be 1 or more; got {size}"):
            perception(photo(), size=size)
    with pytest.raises(ConfigError, match="Unknown precision 'fp8'"):
        Perception(ENCODER, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="1 names for 2 images"):
        perception([photo(), photo()], names=("a",))
    assert perception([photo(), photo()], names=("a", "b")).names == ("a", "b")
    with pytest.raises(ConfigError, match="which encoder"):
        Perception()
    with pytest.raises(IndexError):
        _ = perception(photo()).depth[1]
    two = {"near": heads["depth"], "far": heads["depth"]}
    with pytest.raises(ConfigError, match=r"2 heads answer with depth: choose by name, scene\['near'\]"):
        _ = Perception(ENCODER, two, device="cpu")(photo()).depth


def test_a_single_name_is_a_name_and_not_its_letters(heads: dict[str, Path]) -> None:
    perception = Perception(ENCODER, {"depth": heads["depth"]}, device="cpu")
    assert "depth" in perception(photo(), want="depth").seconds
    scene = perception(photo(), names="ab")
    scene.compute("depth")
    assert scene.names == ("ab",) and "depth" in scene.seconds
    with pytest.raises(ConfigError, match="1 names for 2 images"):
        perception([photo(), photo()], names="ab")
    with pytest.raises(ConfigError, match="heads are given by the name of their answers"):
        Perception(ENCODER, [heads["depth"]], device="cpu")  # type: ignore[arg-type]


def test_blocks_of_an_encoder_without_them_are_refused(tmp_path: Path) -> None:
    """By the head's fit already; a perception says which head."""
    folder = dense_head(tmp_path / "head", "normals", FeatureConfig(encoder="baseline:colour"))
    scene = Perception("baseline:colour", {"normals": folder}, device="cpu")(photo())
    assert scene.normals[0].shape == (SIZE, SIZE, 3)
