import pytest

from codistill.commands.short_names import short_names
from codistill.errors import ConfigError


def test_runs_of_one_name_are_told_apart_by_the_folders_above() -> None:
    assert short_names(["runs/a", "dune-tiny"]) == ["a", "dune-tiny"]
    study = ["s/work/one/0/training", "s/work/two/0/training", "s/work/two/1/training"]
    assert short_names(study) == ["one/0/training", "two/0/training", "two/1/training"]


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"runs/a, runs/b/\.\./a: the same was named twice"):
        short_names(["runs/a", "runs/b", "runs/b/../a"])
