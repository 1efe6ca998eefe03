"""What is exported computes what the library's own models compute, before any exporter has touched it."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deploy_toys import ENCODER
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import softmax

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable, Sizes, about_encoder
from codistill.deploy.pictures import drawn_pictures, photographs
from codistill.deploy.subject import find_exportable, original_of
from codistill.encoders.load import load_encoder
from codistill.encoders.onnx import OnnxEncoder
from codistill.errors import CheckpointError, ConfigError
from codistill.imaging.normalize import normalized
from codistill.programs.record import ProgramRecord
from codistill.student.load import load_student
from codistill.tasks.people.load import load_people
from codistill.tasks.people.model import PeopleSearch
from codistill.tasks.registry import find_task
from codistill.tasks.task import Subject
from codistill.tasks.two_view.head import open_two_view
from shared_files import golden

SIZES = Sizes(batch=2, rows=4, columns=4)
PICTURES = drawn_pictures().batch(range(2), 56, 56)


@torch.inference_mode()
def outputs(network: Exportable, pictures: Tensor = PICTURES) -> dict[str, Tensor]:
    """Outputs by name, whose shapes are checked against the ports."""
    batch, rows, columns = pictures.shape[0], pictures.shape[1] // 14, pictures.shape[2] // 14
    inputs = network.example(Sizes(batch=batch, rows=rows, columns=columns), pictures)
    assert list(inputs) == [port.name for port in network.inputs]
    found = network(*inputs.values())
    sizes = {"batch": batch, "rows": rows, "columns": columns, "rows*columns": rows * columns}
    sizes |= {"rows*14": rows * 14, "columns*14": columns * 14}
    for ports, tensors in ((network.inputs, inputs.values()), (network.outputs, found)):
        for port, tensor in zip(ports, tensors, strict=True):
            assert tuple(tensor.shape) == tuple(sizes.get(axis, axis) for axis in port.axes), port.name
            assert str(tensor.dtype) == f"torch.{port.dtype}", port.name
    return {port.name: tensor for port, tensor in zip(network.outputs, found, strict=True)}


@torch.inference_mode()
def test_tokens_of_an_encoder() -> None:
    encoder = load_encoder(ENCODER)
    wanted = encoder(normalized(PICTURES))
    found = outputs(find_exportable(ENCODER, ExportConfig()))
    assert list(found) == ["patches", "cls", "registers"]
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, getattr(wanted, name))
    mapped = outputs(find_exportable(ENCODER, ExportConfig(takes="pixels", feature_map=True, norm=False)))
    unnormed = encoder(normalized(PICTURES), norm=False)
    torch.testing.assert_close(mapped["features"], unnormed.feature_map(), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_tokens_of_several_blocks_carry_their_numbers() -> None:
    wanted = load_encoder(ENCODER).intermediate(normalized(PICTURES), (-1, 0))
    found = outputs(find_exportable(ENCODER, ExportConfig(blocks=(-1, 0))))
    assert list(found) == ["patches_1", "cls_1", "registers_1", "patches_0", "cls_0", "registers_0"]
    torch.testing.assert_close(found["patches_0"], wanted[1].patches)
    torch.testing.assert_close(found["cls_1"], wanted[0].cls)


@torch.inference_mode()
def test_a_projector_gives_a_teachers_tokens() -> None:
    """Of a released student; what it projects comes back in the teacher's own units if asked for."""
    path = str(golden("dune_nano_released_layout.pth"))
    student = load_student(path)
    teacher = student.targets[0].name
    images = normalized(PICTURES)
    for denormalize in (False, True):
        network = find_exportable(path, ExportConfig(projector=teacher, denormalize=denormalize))
        assert network.about.kind == "projector" and network.outputs[0].axes[-1] == student.targets[0].dim
        wanted = student.project(student.encoder(images, norm=False), teacher, denormalize)
        found = outputs(network)
        torch.testing.assert_close(found["patches"], wanted.patches, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found["cls"], wanted.cls, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="--no-norm would have no effect on what comes out of a projector"):
        find_exportable(path, ExportConfig(projector=teacher, norm=False))


@pytest.mark.parametrize("task", ["depth", "segmentation", "normals"])
@torch.inference_mode()
def test_maps_of_dense_heads_are_those_of_the_tasks_models(heads: dict[str, Path], task: str) -> None:
    network = find_exportable(str(heads[task]), ExportConfig())
    found = outputs(network)
    found = found[network.outputs[0].name]
    chosen = find_task(task)
    options = {} if task == "segmentation" else {"mirror": False}
    model = chosen.load(Subject(head=heads[task]), chosen.test(**options), None)
    for image, mine in zip(PICTURES.numpy(), found, strict=True):
        if task == "segmentation":
            wanted, mine = model.probabilities(image), softmax(mine, 0)
            assert network.about.classes == ("floor", "wall", "cup")
        else:
            wanted = torch.from_numpy(model(image))
            wanted = wanted[None] if task == "depth" else wanted.movedim(-1, 0)
        torch.testing.assert_close(mine, wanted, atol=2e-4, rtol=2e-4)


@torch.inference_mode()
def test_a_dense_head_alone_takes_a_map_per_level(heads: dict[str, Path]) -> None:
    for task, names in (("depth", ["features", "cls"]), ("segmentation", ["features_0", "features_1"])):
        alone = find_exportable(str(heads[task]), ExportConfig(takes="tokens"))
        whole = find_exportable(str(heads[task]), ExportConfig())
        assert [port.name for port in alone.inputs] == names
        said = "after block 0, after the final norm" if task == "segmentation" else "after the last block"
        assert said in alone.inputs[0].meaning
        for mine, theirs in zip(outputs(alone).values(), outputs(whole).values(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_two_views_are_those_of_the_model(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["two-view"]), ExportConfig())
    found = outputs(network)
    views = list(network.example(SIZES, PICTURES).values())
    wanted = open_two_view(Subject(head=heads["two-view"])).model(*views)
    for number, view in enumerate(wanted, 1):
        for name in ("points", "confidence", "descriptors", "descriptor_confidence"):
            torch.testing.assert_close(found[f"{name}{number}"], getattr(view, name))
    alone = outputs(find_exportable(str(heads["two-view"]), ExportConfig(takes="tokens")))
    torch.testing.assert_close(alone["points2"], found["points2"], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_people_are_those_of_the_estimator_and_the_other_rows_are_zero(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["people"]), ExportConfig(people=12, bodies=True))
    found = outputs(network)
    estimator = load_people(Subject(head=heads["people"]), PeopleSearch())
    camera = network.example(SIZES, PICTURES)["intrinsics"][0]
    counts = []
    for image, picture in enumerate(PICTURES.numpy()):
        wanted = estimator(picture, camera)
        present = found["present"][image]
        counts.append(len(wanted))
        assert int(present.sum()) == len(wanted) < 12
        order = found["head"][image][present][:, 2].argsort(stable=True)
        for name in ("score", "head", "rotmat", "shape", "vertices", "joints"):
            mine = found[name][image]
            torch.testing.assert_close(mine[present][order], getattr(wanted, name), atol=1e-4, rtol=1e-4)
            assert not mine[~present].any()
    assert max(counts) > 1


@torch.inference_mode()
def test_logits_of_a_linear_classifier(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["linear"]), ExportConfig(takes="pixels"))
    assert network.about.kind == "linear" and network.about.classes == ("floor", "wall", "cup")
    found = outputs(network)["logits"]
    tokens = load_encoder(ENCODER)(normalized(PICTURES))
    stored = load_file(heads["linear"] / "head.safetensors")
    vectors = torch.cat((tokens.cls, tokens.patches.mean(1)), dim=1)
    torch.testing.assert_close(found, vectors @ stored["weight"].T + stored["bias"], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_votes_of_nearest_neighbours(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["knn"]), ExportConfig())
    found = outputs(network)
    assert list(found) == ["votes_1", "votes_5"]
    bank = np.load(heads["knn"] / "bank" / "features.npy").astype(float)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    for image, cls in enumerate(load_encoder(ENCODER)(normalized(PICTURES)).cls.double().numpy()):
        cosines = bank @ (cls / np.linalg.norm(cls))
        for count in (1, 5):
            shares = np.zeros(3)
            for neighbour in np.argsort(-cosines)[:count]:
                shares[neighbour % 3] += np.exp(cosines[neighbour] / 0.5)
            wanted = torch.from_numpy(shares / shares.sum()).float()
            torch.testing.assert_close(found[f"votes_{count}"][image], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("what", "options", "problem"),
    [
        ("linear", {"takes": "tokens"}, "exported with its encoder"),
        ("knn", {"feature_map": True}, "--map would have no effect on a classifier of whole images"),
        ("encoder", {"people": 3}, "--people would have no effect on an encoder"),
        ("encoder", {"takes": "tokens"}, "tokens go into a head"),
        ("encoder", {"blocks": (-1, 1)}, "--blocks -1,1 names a block of"),
        ("encoder", {"size": (50, 56)}, "multiples of the patch size 14; nearest: 56x56"),
        ("depth", {"blocks": (1,)}, "--blocks would have no effect on a head for depth"),
        ("depth", {"norm": False}, "--no-norm would have no effect"),
        ("two-view", {"bodies": True}, "--bodies would have no effect"),
        ("people", {"feature_map": True}, "--map would have no effect"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    heads: dict[str, Path], what: str, options: dict, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        find_exportable(str(heads.get(what, ENCODER)), ExportConfig(**options))


def test_what_has_no_weights_of_its_own_is_refused() -> None:
    """An exported file, weights folded into a precision, nothing at all."""
    exported = OnnxEncoder.__new__(OnnxEncoder)
    torch.nn.Module.__init__(exported)
    exported.program = SimpleNamespace(path=Path("a.onnx"))  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"a\.onnx: is an exported file itself"):
        about_encoder(exported, "encoder", "a.onnx")
    with pytest.raises(ConfigError, match="with precision=bf16 is not exported"):
        find_exportable(f"{ENCODER},precision=bf16", ExportConfig())
    with pytest.raises(ConfigError, match="nothing to export was named"):
        find_exportable(" ", ExportConfig())


def test_bodies_that_onnx_cannot_pose_are_refused(
    heads: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anny's are; here the tiny body stands for it."""
    monkeypatch.setattr("codistill.deploy.people.NOT_IN_ONNX", ("tiny",))
    with pytest.raises(ConfigError, match=r"tiny's bodies are not exported as ONNX.*torch-export or aoti"):
        find_exportable(str(heads["people"]), ExportConfig(bodies=True))
    network = find_exportable(str(heads["people"]), ExportConfig(bodies=True, format="torch-export"))
    assert [port.name for port in network.outputs[-2:]] == ["vertices", "joints"]


def test_a_task_is_for_released_files_and_models_that_ship(heads: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="says its task itself"):
        find_exportable(str(heads["people"]), ExportConfig(), task="people")
    with pytest.raises(ConfigError, match=r"two-view or people for released files .* got x\.pth"):
        find_exportable("x.pth", ExportConfig(), task="depth")


def test_a_head_of_a_model_that_ships_is_found_by_its_task(
    heads: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record names the model, not a folder of this machine, and leads back to the same weights."""
    model = tmp_path / "models" / "mine"
    shutil.copytree(heads["depth"], model / "heads" / "depth")
    (model / "card.json").write_text("{}")
    monkeypatch.setenv("CODISTILL_MODELS", str(model.parent))
    found = find_exportable("mine", ExportConfig(), task="depth")
    folder = find_exportable(str(heads["depth"]), ExportConfig())
    assert found.about == replace(folder.about, source="mine")
    torch.testing.assert_close(outputs(found), outputs(folder), rtol=0, atol=0)
    ports = {"inputs": found.inputs, "outputs": found.outputs}
    record = ProgramRecord(**vars(found.about), **ports, format="onnx", precision="fp32")
    assert original_of(record).about == found.about
    with pytest.raises(CheckpointError, match="head for normals under the name mine; models with one: dune"):
        find_exportable("mine", ExportConfig(), task="normals")
    with pytest.raises(ConfigError, match="heads of mine go by their task: mine --task depth"):
        find_exportable("mine/heads/depth", ExportConfig())


def test_nothing_to_lower_is_said(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["depth"]), ExportConfig(takes="tokens"))
    with pytest.raises(ConfigError, match="--precision fp16 would have no effect"):
        network.lowered("fp16", "onnx")


@torch.inference_mode()
def test_a_lower_precision_is_the_transformers_alone(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["depth"]), ExportConfig())
    lowered = network.lowered("bf16", "onnx")
    kinds = {name: p.dtype for name, p in lowered.named_parameters()}
    assert kinds["levels.features.encoder.norm.weight"] == torch.bfloat16
    assert kinds["head.conv_depth.weight"] == torch.float32
    whole, half = outputs(network)["depth"], outputs(lowered)["depth"]
    assert 0 < (whole - half).abs().max() < 0.05 * whole.mean()
    assert next(network.parameters()).dtype == torch.float32  # the original stays


def test_pictures_repeat_and_are_resized(tmp_path: Path) -> None:
    assert torch.equal(drawn_pictures().batch(range(16, 18), 56, 56), PICTURES)
    assert not torch.equal(PICTURES[0], PICTURES[1])
    Image.fromarray(np.full((20, 30, 3), 7, np.uint8)).save(tmp_path / "a.png")
    made = photographs([tmp_path / "a.png"]).batch(range(3), 28, 42)
    assert made.shape == (3, 28, 42, 3) and made.dtype == torch.uint8 and (made == 7).all()
