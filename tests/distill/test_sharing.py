"""Sharing: the table of the paper, rows, idle teachers."""

import pytest
import torch

from codistill.distill.sharing import SharingConfig, check_sharing, plan_sharing
from codistill.errors import ConfigError

TEACHERS = {"dino": "generic", "mast3r": "3d", "hmr": "human"}
DOMAINS = ("generic", "human", "3d", "generic", "human", "3d")
SOURCES = ("in19k", "bedlam", "Niantic", "gldv2", "agora", "DL3DV")
CPU = torch.device("cpu")

TABLES = {
    "full": [[1, 1, 1, 1, 1, 1]] * 3,
    "none": [[1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 1, 0]],
    "generic": [[1, 0, 0, 1, 0, 0], [1, 0, 1, 1, 0, 1], [1, 1, 0, 1, 1, 0]],
}


@pytest.mark.parametrize("mode", TABLES)
def test_modes(mode: str) -> None:
    plan = plan_sharing(SharingConfig(mode=mode), TEACHERS, DOMAINS, SOURCES, CPU)  # type: ignore[arg-type]
    assert plan.allowed.tolist() == TABLES[mode]
    images = torch.arange(6.0)
    for name, row in zip(TEACHERS, TABLES[mode], strict=True):
        rows = plan.rows[name]
        chosen = images if rows is None else images[rows]
        assert chosen.tolist() == [i for i, yes in enumerate(row) if yes]
        assert plan.counts[name] == sum(row)
        assert plan.spread(chosen + 1, name).tolist() == [(i + 1) * yes for i, yes in enumerate(row)]


def test_shared_sources_restrict_what_is_shared() -> None:
    config = SharingConfig(mode="generic", shared_sources=("in19k",))
    plan = plan_sharing(config, TEACHERS, DOMAINS, SOURCES, CPU)
    assert plan.allowed.tolist() == [[1, 0, 0, 1, 0, 0], [1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 1, 0]]


def test_contiguous_rows_are_slices_and_absent_domains_stand_in() -> None:
    domains = ("generic", "generic", "3d")
    plan = plan_sharing(SharingConfig(mode="none"), TEACHERS, domains, ("a", "a", "b"), CPU)
    assert plan.rows["dino"] == slice(0, 2)
    assert plan.rows["hmr"] == slice(0, 1)
    assert plan.counts["hmr"] == 0
    assert plan.allowed[2].sum() == 0
    assert plan.spread(torch.tensor([7.0]), "hmr").tolist() == [7, 0, 0]


def test_published_behaviour_runs_everything() -> None:
    config = SharingConfig(mode="none", skip_untaught=False)
    plan = plan_sharing(config, TEACHERS, DOMAINS, SOURCES, CPU)
    assert plan.allowed.tolist() == TABLES["none"]
    assert all(rows is None for rows in plan.rows.values())


def test_errors() -> None:
    with pytest.raises(ConfigError, match="full, generic or none"):
        SharingConfig(mode="ful")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mode generic"):
        SharingConfig(shared_sources=("a",))
    with pytest.raises(ConfigError, match="shared_sources are several names"):  # "a" is a part of "in19k,a"
        SharingConfig(mode="generic", shared_sources="in19k,a")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"source\(s\) cats would teach no one and teacher\(s\) hmr"):
        check_sharing(
            SharingConfig(mode="none"), TEACHERS, {"photos": "generic", "rooms": "3d", "cats": "cats"}
        )
    check_sharing(SharingConfig(), TEACHERS, {"cats": "cats"})
