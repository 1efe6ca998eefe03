"""Options of an export, and those that would have no effect."""

import pytest

from codistill.deploy.config import ExportConfig, check_tolerance, refuse
from codistill.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"format": "onx"}, "Did you mean 'onnx'.*codistill convert"),
        ({"precision": "fp8"}, "Unknown precision"),
        ({"precision": "bf16"}, "not exported in bf16"),
        ({"takes": "image"}, "Did you mean 'images'"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"size": (0, 14)}, "size must be rows and columns"),
        ({"blocks": (1, 1)}, "name one twice"),
        ({"denormalize": True}, "denormalize needs a projector"),
    ],
)
def test_wrong_options_are_refused(options: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ExportConfig(**options)


def test_an_option_without_effect_is_named_as_on_the_command_line() -> None:
    refuse(ExportConfig(people=3), "it", "norm", "blocks")
    with pytest.raises(ConfigError, match="--no-norm, --map would have no effect on it"):
        refuse(ExportConfig(norm=False, feature_map=True), "it", "people", "norm", "feature_map")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number(value: float) -> None:
    with pytest.raises(ConfigError, match="tolerance"):
        check_tolerance(value)
