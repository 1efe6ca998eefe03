"""`codistill serve`: wrong arguments, the missing extra, and a server that a signal stops."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from codistill.cli import main
from codistill.commands.parsers.serve import parse
from codistill.errors import ConfigError, MissingExtraError
from codistill.serve import extra
from codistill.serve.settings import ServeSettings


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--perception", "no.yaml"], "no such file"),
        (["--perception", "nothing-like-it"], "Unknown perception"),
        (["--perception", "x", "--token", "short"], "8 characters"),
        (["--perception", "x", "--port", "70000"], "65535"),
        (["--perception", "x", "--max-fps", "0"], "max_fps must be above 0"),
        (["--perception", "x", "--max-clients", "0"], "max_clients must be 1 or more"),
    ],
)
def test_wrong_arguments(options: list[str], text: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["serve", *options]) == 2
    assert text in capsys.readouterr().err


def test_without_a_perception_one_that_ships_is_served() -> None:
    assert parse([]).perception == "dune-tiny"


def test_an_address_of_another_machine_is_said_to_be_the_hosts() -> None:
    run = pytest.importorskip("codistill.serve.run", reason="needs the extra `serve`", exc_type=ImportError)
    with pytest.raises(ConfigError, match="Choose an address of this machine with --host"):
        run.listen(ServeSettings(host="192.0.2.1", port=0))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "PACKAGES", ("fastapi_that_is_not_there",))
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'codistill[serve]'")):
        extra.check_extra()


def test_which_names_and_hosts_are_local() -> None:
    assert ServeSettings().is_local
    assert ServeSettings(host="::1").is_local
    assert not ServeSettings(host="0.0.0.0").is_local
    assert ServeSettings(host="0.0.0.0").allowed_names is None
    assert "localhost" in (ServeSettings().allowed_names or ())
    assert "see.example" in (ServeSettings(host="0.0.0.0", names=("see.example",)).allowed_names or ())
    with pytest.raises(ConfigError, match="seconds"):
        ServeSettings(seconds=float("nan"))


@pytest.mark.slow
def test_it_serves_until_a_signal(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`")
    config = tmp_path / "p.yaml"
    config.write_text("encoder: 'random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56'\n")
    command = [
        sys.executable,
        "-m",
        "codistill",
        "serve",
        "--perception",
        str(config),
        "--port",
        "0",
        "--warm",
    ]
    command += ["--host", "0.0.0.0", "--name", "localhost"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None and process.stderr is not None
    found = None
    while found is None:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        found = re.search(r"http://\S+:\d+/", line)
    with urllib.request.urlopen(found[0].replace("0.0.0.0", "localhost") + "healthz") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 130)
    assert "warning: everyone who can reach this machine" in process.stderr.read()
