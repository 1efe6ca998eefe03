"""A program's parts lie apart: `--out program.pt2` asks for a file of the name that a part has."""

from pathlib import Path

import torch
from torch import nn

from codistill.deploy.write_torch import saved_program


def test_no_part_has_the_name_that_is_asked_for(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 3), (torch.zeros(1, 2),))
    made = saved_program(program, None, None, tmp_path)  # type: ignore[arg-type]
    assert made.is_file()
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []
