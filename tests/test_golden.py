"""The recorded numbers that lie in the repository: numerical parity is tested on every machine."""

import pytest

from codistill.cli import main
from shared_files import OWN_GOLDEN


def test_recorded_numbers_of_the_repository_are_met(capsys: pytest.CaptureFixture) -> None:
    code = main(["verify", str(OWN_GOLDEN), "--quiet"])
    output = capsys.readouterr().out
    assert code == 0, output
    passed, failed = (int(part.split()[0]) for part in output.strip().splitlines()[-1].split(",")[:2])
    assert passed >= 100 and failed == 0


def test_each_file_is_small() -> None:
    assert all(path.stat().st_size < 1_000_000 for path in OWN_GOLDEN.rglob("*"))
