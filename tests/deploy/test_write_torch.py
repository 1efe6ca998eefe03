"""A program is saved in memory, so that a full disk is met by Python, and under the name that is asked for."""

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from codistill.deploy.write_torch import saved_program, write_torch
from codistill.programs.record import ProgramRecord


def test_a_full_disk_is_an_error_of_python(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 3), (torch.zeros(1, 2),))
    made = saved_program(program, None, None, tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    about = {"kind": "encoder", "source": "e", "name": "e", "licence": "", "patch_size": 2}
    record = ProgramRecord(**about, format="torch-export", precision="fp32", inputs=(), outputs=())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_torch(made, record, tmp_path / "program.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    write_torch(made, record, tmp_path / "program.pt2")
    loaded = torch.export.load(str(tmp_path / "program.pt2")).module()
    assert loaded(torch.zeros(1, 2)).shape == (1, 3)
