from pathlib import Path

import pytest
from people_scenes import write_folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny people, 16 images to train on and 4 to validate; drawn, so that they can be learnt."""
    return write_folder(tmp_path_factory.mktemp("people"))
