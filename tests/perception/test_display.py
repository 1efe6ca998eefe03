"""What a notebook shows of a scene: pictures of every image and answer, in words and with times."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from toy_heads import ENCODER, dense_heads, photo

from codistill import Perception


def test_a_row_of_pictures_per_image(tmp_path: Path) -> None:
    heads = dense_heads(tmp_path, ("segmentation", "depth"))
    scene = Perception(ENCODER, heads, device="cpu")([photo(i) for i in range(5)], want=())
    text = scene._repr_html_()
    drawn = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one))))
        for one in re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    ]
    assert len(drawn) == 4 * (2 + 2) and "the first 4 of 5 images" in text
    for row, pixels in enumerate(drawn[::4]):
        assert np.abs(pixels.astype(int) - photo(row)).mean() < 20  # the image itself, but for JPEG
    legends = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one))))
        for one in re.findall(r"data:image/png;base64,([^\"]+)", text)
    ]
    assert len(legends) == 4 * 2  # the names of classes, and the scale of depths
    assert (legends[1] == scene.answer("depth", 0).legend(legends[1].shape[1])).all()
    for name in ("segmentation", "depth"):
        assert f"{name}: {scene.answer(name, 3).text()}" in text
    assert re.search(r"<code>.*encode \d+ ms.*depth \d+ ms", text)
