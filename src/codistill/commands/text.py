"""`codistill text TOWER --classes FILE --out FILE.npz`: text embeddings, for evaluations that compare with them."""

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from codistill.commands.parsers.text import parse
from codistill.encoders.text import TextTower, load_text_tower
from codistill.errors import ConfigError, DataError
from codistill.files.lines import read_lines
from codistill.files.writing import check_writable
from codistill.tasks.text.embeddings import mean_of_templates, write_class_embeddings
from codistill.tasks.text.retrieval import write_captions

TEMPLATES = ("a photo of a {}.",)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size must be 1 or more; got {arguments.batch_size}")
    if arguments.out.suffix != ".npz":
        raise ConfigError(f"--out must be called *.npz; got {arguments.out}")
    if arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a folder: name a file")
    check_writable(arguments.out.parent)
    if arguments.captions is not None and arguments.templates is not None:
        raise ConfigError("--templates would have no effect: captions are taken as they are")
    captions = arguments.captions is not None
    rows = read_rows(arguments.captions or arguments.classes, captions=captions)
    templates = read_templates(arguments.templates)
    tower = load_text_tower(arguments.tower)
    name = arguments.image_encoder or tower.image_encoder
    if not name:
        raise ConfigError(
            f"which image encoder shares the space of {tower.name}? add --image-encoder E, its name in `load_encoder` "
            "and in runs, e.g. timm:vit_base_patch16_siglip_256.v2_webli"
        )
    if captions:
        images, texts = zip(*((key, text) for key, text in rows), strict=True)
        values = embed(tower, list(texts), arguments.batch_size)
        write_captions(arguments.out, values, tuple(images), name)
        print(
            f"wrote {arguments.out}: {len(texts)} captions of {len(set(images))} images, {values.shape[1]} channels"
        )
        return 0
    values = class_vectors(tower, rows, templates, arguments.batch_size)
    write_class_embeddings(arguments.out, values, tuple(key for key, _ in rows), name)
    texts = f"{values.shape[1]} texts each" if values.shape[1] > 1 else "the mean of the texts of each"
    print(
        f"wrote {arguments.out}: {len(rows)} classes, {texts}, {values.shape[2]} channels, in the space of {name}"
    )
    return 0


def class_vectors(
    tower: TextTower, rows: list[tuple[str, str]], templates: tuple[str, ...], batch_size: int
) -> Tensor:
    """Embeddings (class, text, channel) of every template with all words of a class.

    If classes have different numbers of words, each has one text: the normalized mean of its unit vectors.
    """
    words = [[word.strip() for word in text.split(";") if word.strip()] for _, text in rows]
    texts = [template.replace("{}", word) for of in words for word in of for template in templates]
    parts = embed(tower, texts, batch_size).split([len(of) * len(templates) for of in words])
    if len({len(part) for part in parts}) == 1:
        return torch.stack(parts)
    return torch.stack([mean_of_templates(part[None]) for part in parts])


def embed(tower: TextTower, texts: list[str], batch_size: int) -> Tensor:
    """Embed texts: (text, channel), fp32."""
    parts = [tower.embed(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
    return torch.cat(parts)


def read_rows(path: Path, *, captions: bool = False) -> list[tuple[str, str]]:
    """Read pairs of a key and a text from lines `KEY<tab>TEXT`, or `KEY`, whose text is the key with spaces for `_`.

    Args:
        path: path of the file.
        captions: the keys are names of images, which cannot serve as captions, so that every line needs its tab.

    Raises:
        DataError: if the file cannot be read, or is empty, a key has no words, or a class is named twice.
    """
    rows: list[tuple[str, str]] = []
    for line in _lines(path):
        key, tab, text = line.partition("\t")
        if captions and not tab:
            raise DataError(f"{path}: {line!r} has no caption: write the image, a tab, and a caption")
        text = text.strip() if tab else key.replace("_", " ").strip()
        if not text.strip(" ;"):
            raise DataError(f"{path}: {key!r} has no words")
        if not key.strip():
            raise DataError(f"{path}: {text!r} has no {'image' if captions else 'name'} before its tab")
        rows.append((key.strip(), text))
    repeated = [key for key, count in Counter(key for key, _ in rows).items() if count > 1]
    if repeated and not captions:
        raise DataError(
            f"{path}: {repeated[0]!r} stands there more than once: write all words of a class in one line, separated "
            "by ;"
        )
    return rows


def read_templates(path: Path | None) -> tuple[str, ...]:
    """Read templates from a file; for None, the usual template for photographs.

    Raises:
        DataError: if a template has no placeholder for the words.
    """
    if path is None:
        return TEMPLATES
    templates = tuple(_lines(path))
    for template in templates:
        if "{}" not in template:
            raise DataError(f"{path}: {template!r} has no {{}}, where the words of a class go")
    return templates


def _lines(path: Path) -> list[str]:
    lines = [line.strip(" ") for line in read_lines(path.expanduser()) if line.strip()]
    if not lines:
        raise DataError(f"{path}: is empty")
    return lines
