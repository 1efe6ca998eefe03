"""`codistill evaluate zero-shot --encoder E --classes FILE.npz --data folder:ROOT`: classes by name embeddings."""

from dataclasses import asdict

import torch

from codistill.commands.parsers.evaluate_zero_shot import parse
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError
from codistill.files.writing import check_file
from codistill.metrics.classification import hits_at
from codistill.metrics.interval import bootstrap_mean
from codistill.tasks.classification.bank import ImageVectors, encode_pictures
from codistill.tasks.classification.data import LAYOUTS, check_images
from codistill.tasks.opening import open_split
from codistill.tasks.shared.data import limited
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.shared.pictures import in_batches
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.text.embeddings import read_class_embeddings
from codistill.tasks.text.space import TextSide, image_side


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size must be 1 or more; got {arguments.batch_size}")
    check_file(arguments.out)
    vectors = ImageVectors(kind="cls", resize=arguments.resize, crop=arguments.crop)
    data = open_split(LAYOUTS, arguments.data, arguments.split)
    check_images(data, False)
    named = read_class_embeddings(arguments.classes).ordered(data.classes, arguments.data)
    text = TextSide(file=arguments.classes, tower=named.tower, width=named.values.shape[1])
    features = image_side(arguments.encoder, arguments.projector, text)
    device = choose_device(arguments.device)
    features.to(device)
    samples = limited(data.samples, arguments.limit)
    images = [samples[index] for index in range(len(samples))]
    batches = in_batches(len(samples), arguments.batch_size)
    found = encode_pictures(samples, batches, vectors, features, workers=arguments.workers, device=device)
    scores = torch.cat([named.scores(one) for one in found])
    labels = torch.tensor([image.label for image in images])
    ranks = tuple(rank for rank in (1, 5) if rank < len(data.classes))
    hits = hits_at(scores, labels, ranks).double().numpy()
    groups = named_groups(samples)
    results = {f"top-{rank}": bootstrap_mean(hits[:, i], groups.names) for i, rank in enumerate(ranks)}
    for name, interval in results.items():
        print(f"{name}: {interval} of {interval.count} images, {len(data.classes)} classes")
    numbers = {
        "task": "zero-shot",
        "data": arguments.data,
        "split": arguments.split,
        "encoder": features.describe(),
        "tower": named.tower,
        "templates": named.templates,
        "classes": len(data.classes),
        "vectors": asdict(vectors),
        "interval": groups.about(),
        "scores": {name: asdict(interval) for name, interval in results.items()},
    }
    write_metrics(arguments.out, numbers, ["evaluate", "zero-shot", *argv])
    print(f"wrote {arguments.out}")
    return 0
