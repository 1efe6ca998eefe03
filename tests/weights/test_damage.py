"""Bytes flipped, cut and inserted at random: a file either loads or is refused by name, whatever happens inside."""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from codistill.errors import CodistillError
from codistill.nn.vit import ViTConfig
from codistill.weights.export import write_export
from codistill.weights.layouts import read_weights
from codistill.weights.read import read_checkpoint
from codistill.weights.vit import expected_shapes

CONFIG = ViTConfig(dim=64, depth=1, num_heads=1, patch_size=1, image_size=1, hidden=2)


def encoder() -> dict[str, Tensor]:
    return {name: torch.zeros(shape, dtype=torch.float16) for name, shape in expected_shapes(CONFIG).items()}


@cache
def whole_file(kind: str) -> bytes:
    """A file that loads: small parts beside the tensors, so that most damage hits what is parsed."""
    args = argparse.Namespace(
        image_size=1, enc_args={"arch": "vit"}, teachers=["a"], model="Net(x=('exp', -inf))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if kind == "safetensors":
            save_file(
                {name: tensor.clone() for name, tensor in encoder().items()},
                path,
                metadata={"license": "MIT", "like": "dinov2"},
            )
        elif kind == "tiny zip":
            torch.save({"model": {"w": torch.zeros(2, 2), "b": torch.ones(1)}, "args": args, "iter": 3}, path)
        else:
            state = {f"module.encoder.{name}": tensor for name, tensor in encoder().items()}
            content = {"model": state, "args": args, "iter": 3}
            torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
        return path.read_bytes()


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, int]]:
    """A few injuries: what happens, where (as a share of the length; many near both ends), to which byte."""
    place = st.one_of(
        st.floats(0.0, 1.0),
        st.floats(0.0, 0.05),
        st.floats(0.95, 1.0),
    )
    injury = st.tuples(st.sampled_from(["flip", "set", "cut", "insert"]), place, st.integers(0, 255))
    return draw(st.lists(injury, min_size=1, max_size=4))


def injured(content: bytes, injuries: list[tuple[str, float, int]]) -> bytes:
    data = bytearray(content)
    for what, place, byte in injuries:
        if not data:
            break
        at = min(int(place * len(data)), len(data) - 1)
        if what == "flip":
            data[at] ^= 1 << byte % 8
        elif what == "set":
            data[at] = byte
        elif what == "cut":
            del data[at:]
        else:
            data.insert(at, byte)
    return bytes(data)


def assert_loads_or_names(name: Path, read: Callable[[Path], object], path: Path) -> None:
    """Read a path; if that is refused, the text must hold `name`."""
    said = str(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except CodistillError as error:
            said = str(error)
    assert str(name) in said


@pytest.mark.parametrize("kind", ["zip", "tiny zip", "legacy", "safetensors"])
@given(injuries=damages())
@settings(max_examples=120, deadline=None)
def test_damaged_files_are_refused_by_name(kind: str, injuries: list[tuple[str, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some_weights.pth"
        path.write_bytes(injured(whole_file(kind), injuries))
        for read in (read_checkpoint, read_weights):
            assert_loads_or_names(path, read, path)


@given(injuries=damages(), file=st.sampled_from(["config.json", "encoder.safetensors"]))
@settings(max_examples=80, deadline=None)
def test_damaged_exports_are_refused_by_name(injuries: list[tuple[str, float, int]], file: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = write_export(Path(place) / "export", _weights())
        path = folder / file
        path.write_bytes(injured(path.read_bytes(), injuries))
        assert_loads_or_names(folder, read_weights, folder)


@cache
def _weights():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vit.safetensors"
        save_file(encoder(), path, metadata={"like": "dinov2"})
        return read_weights(path)


@pytest.mark.parametrize("kind", ["zip", "tiny zip", "legacy", "safetensors"])
def test_the_undamaged_file_loads(tmp_path, kind: str) -> None:
    """Else the tests above would prove nothing."""
    path = tmp_path / "whole.pth"
    path.write_bytes(whole_file(kind))
    assert read_checkpoint(path)
    if kind != "tiny zip":
        read_weights(path)
