"""Heads of every kind that is exported, made once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from deploy_toys import classifier_head, dense_head, people_head, two_view_head


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders by task."""
    root = tmp_path_factory.mktemp("exported_heads")
    dense = {task: dense_head(root / task, task) for task in ("depth", "segmentation", "normals")}
    whole = {task: classifier_head(root / task, task) for task in ("linear", "knn")}
    return {
        **dense,
        **whole,
        "two-view": two_view_head(root / "two-view"),
        "people": people_head(root / "people"),
    }
