"""From a name to a checked file, with PyTorch's own programs (seconds), and with ONNX and AOTInductor (slow)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_toys import ENCODER
from rich.console import Console
from torch import Tensor, nn

from codistill.cli import main
from codistill.commands.export import _show as show_record
from codistill.commands.inspect_program import describe_program
from codistill.commands.inspect_tables import show
from codistill.deploy.config import ExportConfig
from codistill.deploy.export import PartingError, export_program
from codistill.deploy.write_onnx import OPSET
from codistill.encoders.load import load_encoder
from codistill.encoders.registry import REGISTERED, FunctionEncoder, register_encoder
from codistill.errors import ConfigError
from codistill.programs.opening import open_program
from codistill.programs.openvino_file import OpenvinoProgram
from codistill.programs.record import Check, Port, ProgramRecord
from codistill.student.load import load_student
from codistill.types import EncoderSpec

FIXED = ExportConfig(format="torch-export", size=(28, 42), batch=2)
IMAGES = torch.randn(2, 3, 28, 42, generator=torch.Generator().manual_seed(0))


class Layers(nn.Module):
    """Two layers; the second one forgets its bias while it is exported."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 2, stride=2)
        self.second = Forgetful(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images)).relu()


class Forgetful(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        bias = None if torch.compiler.is_exporting() else self.bias
        return nn.functional.conv2d(input, self.weight, bias)


@pytest.fixture
def forgetful() -> str:
    spec = EncoderSpec(name="forgetful", dim=4, patch_size=2, has_cls=False)
    register_encoder("forgetful", lambda: FunctionEncoder(spec, Layers()), replace=True)
    yield "forgetful"
    del REGISTERED["forgetful"]


def test_a_program_is_written_checked_and_run(tmp_path: Path) -> None:
    out, said = tmp_path / "made" / "encoder.pt2", []
    out.parent.mkdir()
    (out.parent / "encoder.pt2.data").touch()  # not of this format
    record = export_program(ENCODER, out, FIXED, say=said.append)
    assert sorted(path.name for path in out.parent.iterdir()) == ["encoder.pt2", "encoder.pt2.data"]
    program = open_program(out)
    assert program.record == record and record.inputs[0].axes == (2, 3, 28, 42)
    assert (record.source, record.licence, record.patch_size) == (ENCODER, "none (random weights)", 14)
    assert record.mean == (0.485, 0.456, 0.406) and "noise, 2 of 28x42" in record.checked_with
    assert {check.output for check in record.checks} == {"patches", "cls", "registers"}
    assert all(0 <= check.mean <= check.largest < 1e-4 for check in record.checks)
    wanted = load_encoder(ENCODER)(IMAGES)
    found = program(images=IMAGES)
    torch.testing.assert_close(found["patches"], wanted.patches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["registers"], wanted.registers, atol=1e-5, rtol=1e-5)
    assert len(said) == 2
    with pytest.raises(ConfigError, match="overwrite"):
        export_program(ENCODER, out, FIXED)


def test_a_file_whose_numbers_part_is_not_kept_and_the_layer_is_named(tmp_path: Path, forgetful: str) -> None:
    out = tmp_path / "forgetful.pt2"
    config = ExportConfig(format="torch-export", size=(4, 6), batch=2)
    with pytest.raises(
        PartingError, match=r"patches [\d.]+\. The first layer whose numbers part is \S+second\."
    ) as error:
        export_program(forgetful, out, config)
    assert "more than 0.001" in str(error.value) and list(tmp_path.iterdir()) == []
    record = export_program(forgetful, out, config, tolerance=100.0)
    assert record.tolerance == 100.0 and record.checks[0].largest > 0.01


def test_what_an_exporter_cannot_do_is_said_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the advice that PyTorch wraps around it."""

    def failing(*_: object) -> None:
        try:
            raise NotImplementedError("no operator for solve")
        except NotImplementedError as error:
            raise RuntimeError("Failed. Next steps: write to us") from error

    monkeypatch.setattr("codistill.deploy.export.trace", failing)
    with pytest.raises(ConfigError, match="NotImplementedError: no operator for solve") as error:
        export_program(ENCODER, tmp_path / "e.pt2", ExportConfig(format="torch-export"))
    assert "write to us" not in str(error.value) and "--batch N" in str(error.value)


@pytest.mark.parametrize(
    ("out", "options", "problem"),
    [
        ("a.onnx", {"format": "torch-export"}, r"must end in \.pt2"),
        ("a.pt2", {"format": "onnx"}, r"must end in \.onnx .*, or choose --format torch-export or aoti"),
        ("a.bin", {"format": "onnx"}, r"must end in \.onnx for the format onnx$"),
        ("folder.pt2", {"format": "aoti"}, "is a folder"),
        ("large.onnx", {"format": "onnx"}, r"large\.onnx\.data: exists already"),
    ],
)
def test_places_that_do_not_do_are_refused_before_anything_is_loaded(
    tmp_path: Path, out: str, options: dict, problem: str
) -> None:
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "large.onnx.data").touch()
    with pytest.raises(ConfigError, match=problem):
        export_program("no such encoder", tmp_path / out, ExportConfig(**options))


def test_a_network_in_memory_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a ViTEncoder in memory cannot be exported: save it"):
        export_program(load_encoder(ENCODER), tmp_path / "a.onnx")  # type: ignore[arg-type]


def test_a_place_for_the_numbers_is_refused_before_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    argv = ["export", "no-such-encoder", "--out", str(tmp_path / "e.onnx"), "--json"]
    for told, complaint in ((tmp_path, "is a folder: name a file"), (file / "e.json", f"{file} is a file")):
        assert main([*argv, str(told)]) == 2
        assert complaint in capsys.readouterr().err


def test_the_command_says_what_came_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, told = tmp_path / "e.pt2", tmp_path / "e.json"
    words = [
        "export",
        ENCODER,
        "--out",
        str(out),
        "--format",
        "torch-export",
        "--size",
        "28x28",
        "--batch",
        "1",
    ]
    assert main([*words, "--map", "--input", "pixels", "--json", str(told)]) == 0
    shown = capsys.readouterr().out
    assert "features" in shown and "1 x 24 x 2 x 2" in shown and "Differences from eager fp32" in shown
    numbers = json.loads(told.read_text())
    assert numbers["inputs"][0]["dtype"] == "uint8" and numbers["checks"][0]["largest"] < 1e-4
    assert main([*words, "--no-check", "--tolerance", "1"]) == 2
    assert "would have no effect with --no-check" in capsys.readouterr().err
    assert main([*words, "--json", words[words.index("--out") + 1]]) == 2
    assert "is the exported file itself" in capsys.readouterr().err
    assert main(["export", ENCODER, "--out", str(out), "--format", "folder"]) == 2
    assert "codistill convert" in capsys.readouterr().err


def test_numbers_stay_whole_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of long names and many axes, which wrap: 1.4e-… would not say a number."""
    monkeypatch.setenv("COLUMNS", "80")
    axes = ("batch", "rows*14", "columns*14", 24)
    port = Port(name="descriptor_confidence1", axes=axes, meaning="of the descriptors")
    about = {"kind": "two-view", "source": "e", "name": "e", "licence": "", "patch_size": 14}
    checks = (Check(output=port.name, largest=1.4e-5, mean=6.6e-7),)
    files = {"format": "onnx", "precision": "fp32", "tolerance": 1e-3}
    record = ProgramRecord(**about, **files, inputs=(), outputs=(port,), checks=checks)
    monkeypatch.setattr("codistill.commands.inspect_program.RECORDS", {".onnx": lambda path: record})
    show_record(record)
    described = describe_program(Path("e.onnx"))
    assert described["tensors"][0]["meaning"] == "of the descriptors"  # --json says it
    show(described, Console())
    shown = capsys.readouterr().out
    assert shown.count("1.4e-05  6.6e-07") == 2 and shown.count("descriptor_confidence1 ") == 2


def operators(model: Any) -> set[str]:
    """Operators of a graph and of those within it: `domain.name`, without the domain for the default one."""

    def within(nodes: Iterable[Any]) -> Iterator[str]:
        for node in nodes:
            yield f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            for attribute in node.attribute:
                yield from within(attribute.g.node)

    return set(within(model.graph.node))


@pytest.mark.slow
def test_an_onnx_file_takes_any_batch_and_size_by_standard_operators(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    out = tmp_path / "encoder.onnx"
    record = export_program(ENCODER, out)
    model = onnx.load(out)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert not [name for name in operators(model) if "." in name or name == "Resize"]
    text = out.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in text  # no paths of this machine
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert (said["licence"], said["patch_size"]) == ("none (random weights)", "14")
    axes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes[0] == "batch" and axes[1] == 3 and "rows" in axes[2] and "columns" in axes[3]
    ours, theirs = load_encoder(ENCODER), load_encoder(out)
    for shape in ((1, 3, 14, 14), (3, 3, 56, 56), (2, 3, 28, 98)):
        images = torch.randn(shape)
        torch.testing.assert_close(theirs(images).patches, ours(images).patches, atol=1e-4, rtol=1e-4)
    assert max(check.largest for check in record.checks) < 1e-4
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    images = torch.randn(2, 3, 42, 28)
    found = OpenvinoProgram(out)(images=images)["patches"]
    torch.testing.assert_close(found, ours(images).patches, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_weights_of_large_models_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    monkeypatch.setattr("codistill.deploy.write_onnx.LARGEST_FILE", 1000)
    out = tmp_path / "large.onnx"
    config = ExportConfig(size=(28, 28))
    export_program(ENCODER, out, config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert out.stat().st_size < (tmp_path / "large.onnx.data").stat().st_size
    monkeypatch.undo()
    export_program(ENCODER, out, config, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["large.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precisions_of_onnx_files_stay_near(tmp_path: Path, precision: str) -> None:
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    out = tmp_path / "encoder.onnx"
    record = export_program(ENCODER, out, ExportConfig(precision=precision, size=(28, 42), takes="pixels"))
    assert all(0 < check.mean < 0.1 for check in record.checks)
    import onnx

    found = operators(onnx.load(out))
    assert ("MatMulInteger" in found) is (precision == "int8")
    assert not [name for name in found if "." in name]


def test_integers_do_not_overflow_on_any_processor(tmp_path: Path) -> None:
    """onnxruntime's numbers here are those of exact integers, where signed weights would saturate without VNNI."""
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    from onnx.reference import ReferenceEvaluator

    from codistill.deploy.write_onnx import in_integers

    generator = np.random.default_rng(0)
    weight = np.sign(generator.standard_normal((64, 32))).astype(np.float32)  # full scale everywhere
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "weight"], ["y"], name="product")],
        "one product",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [8, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [8, 32])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = in_integers(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10))
    stored = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.dims == [64, 32]]
    assert len(stored) == 1 and stored[0].dtype == np.uint8 and np.ptp(stored[0].astype(int)) == 254
    x = (
        np.abs(generator.standard_normal((8, 64))).astype(np.float32) + 1
    )  # no zeros: large unsigned activations
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found, exact = session.run(None, {"x": x})[0], ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert np.abs(found - x @ weight).max() < 0.02 * np.abs(x @ weight).max()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["depth", "segmentation", "normals", "people", "linear", "knn"])
def test_heads_leave_as_onnx_files(heads: dict[str, Path], tmp_path: Path, task: str) -> None:
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    record = export_program(heads[task], tmp_path / "head.onnx", ExportConfig(bodies=task == "people"))
    assert record.kind == task and max(check.largest for check in record.checks) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("takes", "size"), [("images", (56, 70)), ("tokens", None)])
def test_two_view_heads_leave_as_onnx_files(
    heads: dict[str, Path], tmp_path: Path, takes: str, size: tuple[int, int] | None
) -> None:
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    config = ExportConfig(takes=takes, size=size)
    record = export_program(heads["two-view"], tmp_path / "head.onnx", config)
    assert record.kind == "two-view" and max(check.largest for check in record.checks) < 1e-3


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the debug recipe, two steps long."""
    run = tmp_path_factory.mktemp("runs") / "debug"
    assert main(["distill", "debug", "--out", str(run), "--engine.total-steps", "2"]) == 0
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student.pt2", "student.onnx"])
def test_a_distilled_student_leaves_with_and_without_a_projector(
    student: Path, tmp_path: Path, name: str
) -> None:
    format = "onnx" if name.endswith(".onnx") else "torch-export"
    if format == "onnx":
        pytest.importorskip("onnx", reason="needs the extra `onnx`")
    config = ExportConfig(format=format, projector="generic", denormalize=True)
    record = export_program(student, tmp_path / "projected" / name, config)
    assert record.kind == "projector" and record.licence.startswith("distilled from weights under")
    images = torch.randn(3, 3, 28, 70, generator=torch.Generator().manual_seed(1))
    original = load_student(student)
    wanted = original.project(original.encoder(images, norm=False), "generic", denormalize=True)
    found = open_program(tmp_path / "projected" / name)(images=images)
    torch.testing.assert_close(found["patches"], wanted.patches, atol=1e-3, rtol=1e-3)
    export_program(student, tmp_path / name, ExportConfig(format=format))
    patches = open_program(tmp_path / name)(images=images)["patches"]
    torch.testing.assert_close(patches, load_encoder(student)(images).patches, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_a_compiled_package_runs_and_lower_precisions_of_programs_stay_near(tmp_path: Path) -> None:
    record = export_program(ENCODER, tmp_path / "e.pt2", ExportConfig(format="aoti", size=(28, 28)))
    assert max(check.largest for check in record.checks) < 1e-4
    config = ExportConfig(format="torch-export", precision="bf16", size=(28, 28))
    record = export_program(ENCODER, tmp_path / "half.pt2", config)
    assert all(1e-4 < check.largest < 0.5 for check in record.checks)
