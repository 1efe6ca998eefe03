"""What a traced program holds."""

from pathlib import Path

import torch

from codistill.deploy.config import ExportConfig
from codistill.deploy.pictures import drawn_pictures
from codistill.deploy.subject import find_exportable
from codistill.deploy.trace import TRACED, trace


def test_a_head_alone_leaves_without_its_encoder(heads: dict[str, Path]) -> None:
    network = find_exportable(str(heads["depth"]), ExportConfig(takes="tokens"))
    pictures = drawn_pictures().batch(range(TRACED.batch), TRACED.rows * 14, TRACED.columns * 14)
    given = network.example(TRACED, pictures)
    program = trace(network, given)
    held = {**program.state_dict, **program.constants}
    assert "head.conv_depth.weight" in held and not [name for name in held if "encoder" in name]
    with torch.inference_mode():
        found, wanted = program.module()(*given.values()), network(*given.values())
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=0)
