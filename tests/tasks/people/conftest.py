import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # people_scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny people, 16 images to train on and 4 to validate; drawn, so that they can be learnt."""
    from people_scenes import write_folder

    return write_folder(tmp_path_factory.mktemp("people"))
