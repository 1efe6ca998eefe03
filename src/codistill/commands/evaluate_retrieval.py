"""`codistill evaluate retrieval --encoder E --captions FILE.npz --images DIR`: captions to images, and back."""

from dataclasses import asdict

import torch

from codistill.commands.parsers.evaluate_retrieval import parse
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError, DataError
from codistill.files.writing import check_file
from codistill.metrics.interval import bootstrap_mean
from codistill.tasks.classification.bank import ImageVectors, encode_pictures
from codistill.tasks.shared.pictures import FilePicture, in_batches
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.text.retrieval import RANKS, found_at, read_captions
from codistill.tasks.text.space import TextSide, image_side


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size must be 1 or more; got {arguments.batch_size}")
    check_file(arguments.out)
    vectors = ImageVectors(kind="cls", resize=arguments.resize, crop=arguments.crop)
    captions = read_captions(arguments.captions)
    paths = [arguments.images / name for name in captions.names]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{arguments.captions}: {len(missing)} of {len(paths)} images are not in {arguments.images}, the first "
            f"{missing[0]}. Name the folder that the images' names are relative to (--images)."
        )
    text = TextSide(file=arguments.captions, tower=captions.tower, width=captions.values.shape[1])
    features = image_side(arguments.encoder, arguments.projector, text)
    device = choose_device(arguments.device)
    features.to(device)
    pictures = [FilePicture(path) for path in paths]
    batches = in_batches(len(pictures), arguments.batch_size)
    found = torch.cat(
        list(encode_pictures(pictures, batches, vectors, features, workers=arguments.workers, device=device))
    )
    ranks = tuple(rank for rank in RANKS if rank < len(captions.images)) or (1,)
    of_images, of_texts = found_at(found, captions.values, captions.owners(), ranks)
    scores = {}
    for way, hits, groups in (
        ("image to text", of_images, captions.names),
        ("text to image", of_texts, captions.images),
    ):
        for column, rank in enumerate(ranks):
            scores[f"{way}, recall at {rank}"] = bootstrap_mean(hits[:, column].double().numpy(), groups)
    for name, interval in scores.items():
        print(f"{name}: {interval} of {interval.count}")
    numbers = {
        "task": "retrieval",
        "images": len(paths),
        "captions": len(captions.images),
        "encoder": features.describe(),
        "tower": captions.tower,
        "vectors": asdict(vectors),
        "interval": "over images; captions of an image are one group",
        "scores": {name: asdict(interval) for name, interval in scores.items()},
    }
    write_metrics(arguments.out, numbers, ["evaluate", "retrieval", *argv])
    print(f"wrote {arguments.out}")
    return 0
