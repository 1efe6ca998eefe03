"""What every fit refuses before it opens its data."""

from pathlib import Path

import pytest
import torch

from codistill.errors import ConfigError
from codistill.tasks.dense.depth.fit import DepthFit
from codistill.tasks.opening import fit_task
from codistill.tasks.registry import find_task
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import TENSORS, EncoderFacts, HeadData, HeadRecord, write_head


def test_a_head_of_another_task_is_not_replaced(tmp_path: Path) -> None:
    record = HeadRecord(
        task="segmentation",
        features=FeatureConfig(encoder="e"),
        data=HeadData(spec="world:w", samples=1),
        encoder=EncoderFacts(name="e", licence="", channels=4, patch_size=14),
    )
    write_head(tmp_path, record, {"weight": torch.zeros(2)}, [])
    before = (tmp_path / TENSORS).read_bytes()
    with pytest.raises(ConfigError, match="holds a head for segmentation, which one for depth would replace"):
        fit_task(find_task("depth"), DepthFit(data="world:w"), Runtime(out=tmp_path))
    assert (tmp_path / TENSORS).read_bytes() == before


def test_a_run_does_not_become_a_head_as_well(tmp_path: Path) -> None:
    for name, part in (("begun", "config.yaml"), ("trained", "checkpoints/step_00000001/model.safetensors")):
        file = tmp_path / name / part
        file.parent.mkdir(parents=True)
        file.touch()
        with pytest.raises(ConfigError, match=f"{name} is a run of a distillation. Name another folder"):
            fit_task(find_task("depth"), DepthFit(data="world:w"), Runtime(out=tmp_path / name))
        assert {path for path in (tmp_path / name).rglob("*") if path.is_file()} == {file}
