"""Tensors and texts in safetensors files: read back by the library itself, and the same bytes each time."""

from pathlib import Path

import torch
from safetensors import safe_open

from codistill.files.tensors import write_tensors

TENSORS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(5, dtype=torch.float16)}


def test_tensors_and_header_are_read_back(tmp_path: Path) -> None:
    header = {"zeta": 'ä \n\t\x01 "1" \\ 日本', "alpha": '{"x": [1, 2]}'}
    write_tensors(tmp_path / "file.safetensors", TENSORS, header)
    write_tensors(tmp_path / "bare.safetensors", TENSORS)
    for name, texts in (("file", header), ("bare", None)):
        with safe_open(tmp_path / f"{name}.safetensors", "pt") as found:
            assert found.metadata() == texts
            assert all(torch.equal(found.get_tensor(key), tensor) for key, tensor in TENSORS.items())


def test_equal_contents_are_equal_files(tmp_path: Path) -> None:
    """A student that is trained again to the same weights counts as the same by its hash."""
    header = dict.fromkeys("cabd", "text")
    for number in range(10):
        write_tensors(tmp_path / f"{number}.safetensors", TENSORS, header)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
