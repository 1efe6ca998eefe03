"""The description in an exported file's metadata, and the shapes that a file takes."""

import json
from dataclasses import replace

import pytest

from codistill.errors import CheckpointError
from codistill.programs.program import fits, multiple_of
from codistill.programs.record import Check, Port, ProgramRecord, TokenFacts, record_of_json

IMAGES = Port(name="images", axes=("batch", 3, "rows*14", "columns*14"), meaning="RGB")
RECORD = ProgramRecord(
    kind="encoder",
    source="e",
    name="e",
    licence="Apache-2.0",
    patch_size=14,
    mean=(0.5, 0.25, 0.125),
    std=(1.0, 1.0, 2.0),
    format="onnx",
    precision="fp16",
    opset=18,
    inputs=(IMAGES,),
    outputs=(Port(name="cls", axes=("batch", 8)),),
    tokens=TokenFacts(dim=8, blocks=(1, 2)),
    checks=(Check(output="cls", largest=1e-5, mean=1e-6),),
    versions={"torch": "2"},
)


def test_a_record_comes_back_from_json() -> None:
    assert record_of_json(RECORD.to_json(), "x.onnx") == RECORD


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "x.onnx: damaged description"),
        ("[]", "not of this version"),
        ('{"version": 2}', "not of this version"),
        ('{"version": 1, "kind": "encoder"}', "damaged description"),
    ],
)
def test_a_damaged_record_is_refused(text: str, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        record_of_json(text, "x.onnx")


def test_a_field_of_the_wrong_type_is_named() -> None:
    plain = json.loads(RECORD.to_json()) | {"patch_size": "wide"}
    with pytest.raises(CheckpointError, match="patch_size"):
        record_of_json(json.dumps(plain), "x.onnx")


@pytest.mark.parametrize(
    ("shape", "good"),
    [
        ((1, 3, 28, 14), True),
        ((7, 3, 14, 140), True),
        ((1, 3, 28, 15), False),
        ((1, 4, 28, 28), False),
        ((3, 28, 28), False),
    ],
)
def test_open_axes_take_whole_patches(shape: tuple[int, ...], good: bool) -> None:
    assert fits(shape, IMAGES) is good


def test_fixed_axes_take_one_size() -> None:
    fixed = replace(IMAGES, axes=(2, 3, 28, "columns*14"))
    assert fits((2, 3, 28, 42), fixed) and not fits((1, 3, 28, 42), fixed)
    assert (multiple_of("rows*14"), multiple_of("batch")) == (14, 1)
