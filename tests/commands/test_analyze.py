import json

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.analysis.overlays import mutual_matches
from codistill.commands.analyze import main
from codistill.commands.pca import main as pca
from codistill.errors import ConfigError, DataError

ENCODER = "random:vit_tiny,depth=2,image_size=56,patch_size=14"


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for name, size in (("a", (60, 80)), ("b", (90, 60))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        paths.append(str(tmp_path / f"{name}.png"))
    return paths


def test_encoders_are_drawn_on_images(images, tmp_path):
    out = tmp_path / "out"
    assert main([ENCODER, "--images", *images, "--size", "56", "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "pca.png",
        "attention.png",
        "attention_heads_1.png",
        "artefacts.png",
        "nearest_patches.png",
        "images.json",
    }
    numbers = json.loads((out / "images.json").read_text())
    artefacts = numbers["artefacts"][ENCODER]
    assert set(artefacts) == {"before the final norm", "after it"}
    assert all(0 <= of["fixed_pattern"] <= 1 for of in artefacts.values())
    assert 0 < numbers["attention"]["on_patches"][ENCODER] < 1
    assert 0 <= numbers["nearest_patches"][ENCODER]["mutual"] <= 1


def test_an_image_finds_itself(images, tmp_path):
    main([ENCODER, "--images", images[0], images[0], "--size", "56", "--out", str(tmp_path)])
    numbers = json.loads((tmp_path / "images.json").read_text())["nearest_patches"][ENCODER]
    assert numbers == {"mean similarity": pytest.approx(1.0, abs=1e-3), "mutual": 1.0}


def test_a_block_that_only_some_encoders_have_is_refused_before_anything_is_written(images, tmp_path):
    deeper = ENCODER.replace("depth=2", "depth=3")
    with pytest.raises(ConfigError, match="block"):
        main(
            [
                deeper,
                ENCODER,
                "--images",
                *images,
                "--size",
                "56",
                "--block",
                "2",
                "--out",
                str(tmp_path / "out"),
            ]
        )
    assert not (tmp_path / "out").exists()


def test_strips_are_refused_by_name(images, tmp_path, capsys):
    strip = tmp_path / "strip.png"
    Image.fromarray(np.zeros((3, 70, 3), np.uint8)).save(strip)
    with pytest.raises(DataError, match=r"strip\.png: 70x3 pixels are a strip.*1307 pixels long"):
        main([ENCODER, "--images", images[0], str(strip), "--size", "56", "--out", str(tmp_path / "out")])
    drawn = tmp_path / "pca.png"
    code = pca([images[0], str(strip), "--encoder", ENCODER, "--size", "56", "--out", str(drawn)])
    assert code != 0 and drawn.is_file() and "are a strip" in capsys.readouterr().err


def test_an_image_of_three_rows_is_no_channel_axis(images, tmp_path):
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((3, 50, 3), np.uint8)).save(small)
    assert (
        pca([str(small), images[0], "--encoder", ENCODER, "--size", "28", "--out", str(tmp_path / "x.png")])
        == 0
    )


def test_what_is_no_run_says_how_to_look_at_encoders(tmp_path):
    with pytest.raises(ConfigError, match="codistill analyze E --images"):
        main([str(tmp_path)])


def test_only_pairs_that_choose_each_other_are_matches_the_most_similar_first():
    forward, backward = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 3, 0])
    found = mutual_matches(forward, backward, torch.tensor([0.5, 0.9, 0.8, 0.7]), 2)
    assert [(i, j) for i, j, _ in found] == [(1, 0), (3, 1)]
