"""`codistill plan`: the printed sums follow from the numbers of --json, earlier stages included."""

import json

import pytest

from codistill.cli import main

ASKED = ["plan", "eupe-vitb16", "--gpus", "64", "--tflops", "200", "--price", "2"]


def test_the_printed_sums_are_those_of_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASKED, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert main(ASKED) == 0
    text = capsys.readouterr().out
    per_image = numbers["flops_per_image"]
    flops = per_image["encoder"] + per_image["projectors"] + sum(per_image["teachers"].values())
    compute = numbers["images_per_step"] / 64 * flops / 200e12
    assert numbers["compute_seconds"] == pytest.approx(compute)
    assert numbers["hours"] == pytest.approx(numbers["step_seconds"] * numbers["steps"] / 3600)
    before = numbers["hours_of_stages_before"]
    assert list(before) == ["eupe-proxy", "eupe-vitb16-256"]
    hours = numbers["hours"] + sum(before.values())
    assert f"{hours:.1f} h = {64 * hours:,.0f} GPU hours, ${128 * hours:,.0f}" in text
    assert f"eupe-proxy {before['eupe-proxy']:.1f} h" in text


@pytest.mark.parametrize("wrong", ["--tflops 0", "--gpus 0", "--price -1", "--utilization 1.5", "--gpus 7"])
def test_impossible_rates_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "dune-vitbase14-336", *wrong.split()]) == 2
    assert "Traceback" not in (said := capsys.readouterr().err) and said.count("\n") <= 2
