"""Load on a server of formulas: tabs take turns, no frame waits behind older ones, memory stays."""

import sys
from pathlib import Path

import pytest

for _package in ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client"):
    pytest.importorskip(_package, reason="needs the extra `serve`")
sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from live_server import LiveServer  # noqa: E402
from toy_perception import ToyPerception  # noqa: E402

from codistill.bench.live import run_load, server_answers  # noqa: E402
from codistill.commands.bench_live import small_looks  # noqa: E402
from codistill.serve.settings import ServeSettings  # noqa: E402


def test_twenty_tabs() -> None:
    delay = 0.01
    with LiveServer(ToyPerception(delay=delay), ServeSettings(port=0)) as server:
        assert server_answers(server.url) == tuple(n for n in ToyPerception.tasks if n != "pair")
        result = run_load(server.url, small_looks(56)[0], ["depth"], tabs=20, seconds=2.0, eager=2)
        server.wait_for_tabs(0)
    assert result.replaced > 0
    assert 0 < result.frames <= server.perception.calls
    assert result.frames_per_second <= 1 / delay
    turn = result.seconds / result.frames
    assert result.median < 2.5 * 20 * turn  # each waits for the others once
    assert result.second_half < 2 * result.first_half + 0.2
    assert result.megabytes[2] - result.megabytes[1] < 50
    assert set(result.stages) >= {"wait", "decode", "encode", "depth", "pack"}
    assert 0 < result.outside < 1


def test_pairs_are_looked_at_together() -> None:
    single, pairs = small_looks(56)
    assert {len(look) for look in single} == {1} and {len(look) for look in pairs} == {2}
    with LiveServer(ToyPerception(), ServeSettings(port=0)) as server:
        every = server_answers(server.url, pictures=2)
        assert every == tuple(ToyPerception.tasks)
        result = run_load(server.url, pairs, every, tabs=1, seconds=0.3)
        alone = run_load(server.url, single, every, tabs=1, seconds=0.3)
    assert result.frames > 0 and result.stages["pair"] > 0
    assert "pair" not in alone.stages and result.bytes_per_frame > 1.5 * alone.bytes_per_frame


@pytest.mark.slow
def test_the_command_writes_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import json

    from codistill.cli import main

    config, out = tmp_path / "p.yaml", tmp_path / "live.json"
    config.write_text("encoder: 'random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56'\nsize: 56\n")
    options = ["--tabs", "4", "--seconds", "1", "--alone", "1", "--edge", "56", "--json", str(out)]
    assert main(["bench", "live", "--perception", str(config), *options]) == 0
    numbers = json.loads(out.read_text())
    assert set(numbers["loads"]) == {"one tab, every head", "4 tabs, every head"}
    assert numbers["loads"]["4 tabs, every head"]["replaced"] > 0
    assert numbers["provenance"]["command"].startswith("codistill bench live")
    assert "frames/s" in capsys.readouterr().out
