"""Reading files without running code: what is allowed, and what each kind of wrong file is told."""

import argparse
import os
import pathlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from codistill.errors import CheckpointError
from codistill.weights.read import file_kind, read_checkpoint, read_header


class Hostile:
    """Unpickling it with the standard library would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_of_both_formats(tmp_path, zipped: bool) -> None:
    file = tmp_path / "weights.anything"
    args = argparse.Namespace(
        lr=1e-3, arch="vit", root=pathlib.Path("/data"), best=np.float64(0.5), nested={"a": [1]}
    )
    content = {"model": {"w": torch.arange(6.0).reshape(2, 3).half()}, "args": args, "losses": np.arange(3)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(file)
    assert file_kind(file) == ("torch zip" if zipped else "torch legacy")
    assert (
        torch.equal(read["model"]["w"], content["model"]["w"]) and read["model"]["w"].dtype == torch.float16
    )
    assert (read["args"].lr, read["args"].best, read["args"].nested) == (1e-3, 0.5, {"a": [1]})
    assert str(read["args"].root) == "/data" and read["losses"].tolist() == [0, 1, 2]


def test_tensors_without_values_are_refused_by_name(tmp_path) -> None:
    path = tmp_path / "empty.pth"
    torch.save({"model": {"norm.weight": torch.ones(2), "head.weight": torch.ones(2, device="meta")}}, path)
    with pytest.raises(CheckpointError, match=r"empty\.pth: model\.head\.weight is on the meta device"):
        read_checkpoint(path)


def test_safetensors_with_header(tmp_path) -> None:
    save_file({"w": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "w.bin", metadata={"license": "MIT"})
    assert read_checkpoint(tmp_path / "w.bin")["w"].dtype == torch.bfloat16
    assert read_header(tmp_path / "w.bin") == {"license": "MIT"}


@pytest.mark.parametrize("save", ["zip", "legacy", "pickle"])
def test_hostile_pickles_are_never_run(tmp_path, save: str) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.pth"
    content = {"model": {"w": torch.zeros(1)}, "args": Hostile(mark)}
    if save == "pickle":
        file.write_bytes(pickle.dumps(content["args"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=save == "zip")
    with pytest.raises(CheckpointError, match=r"hostile\.pth: .*could run code"):
        read_checkpoint(file)
    assert not mark.exists()
    with file.open("rb") as stream:  # the standard library would have run it
        if save == "pickle":
            pickle.load(stream)
            assert mark.exists()


def test_a_whole_model_names_its_class(tmp_path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\n <HTML>404</HTML>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b'{"a": 1}', "a JSON text"),
        (b"hello", r"no weights file \(it starts with b'hello'\)"),
        (b"PK\x03\x04" + b"\0" * 200, r"damaged or incomplete \(204 bytes"),
    ],
)
def test_other_files_are_recognized(tmp_path, content: bytes, said: str) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{said}"):
        read_checkpoint(tmp_path / "weights.pth")


def test_a_pytorch_program_is_not_called_damaged(tmp_path) -> None:
    path = tmp_path / "encoder.pt2"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, str(path))
    with pytest.raises(CheckpointError, match=r"encoder\.pt2: is a PyTorch program, not weights"):
        read_checkpoint(path)


def test_missing_files_folders_and_other_archives(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match=r"pipe\.pth: is a pipe"):  # reading it would wait forever
        read_checkpoint(tmp_path / "pipe.pth")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(CheckpointError, match=r"photos\.zip: damaged or incomplete"):
        read_checkpoint(tmp_path / "photos.zip")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"expected a dictionary of tensors, found a list"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_truncated_files_say_so(tmp_path, kind: str, kept: float) -> None:
    file = tmp_path / "cut.pth"
    tensors = {"w": torch.randn(50, 50)}
    if kind == "safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CheckpointError, match=r"cut\.pth: damaged or incomplete .*Download or copy it again"):
        read_checkpoint(file)
