"""`codistill evaluate zero-shot-segmentation --encoder E --classes FILE.npz --data LAYOUT:FOLDER --out OUT`."""

import sys

from codistill.commands.parsers.evaluate_zero_shot_segmentation import parse
from codistill.commands.progress_bar import SampleProgress
from codistill.engine.distributed import choose_device
from codistill.files.writing import check_writable
from codistill.tasks.dense.segmentation.model import SegmentationTest, Segmenter
from codistill.tasks.dense.segmentation.task import TASK, score_segmenter
from codistill.tasks.evaluation import evaluate, write_evaluation
from codistill.tasks.opening import open_data, scored_split
from codistill.tasks.text.embeddings import read_class_embeddings
from codistill.tasks.text.segmentation import TextHead, patch_vectors
from codistill.tasks.text.space import TextSide, image_side


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    check_writable(arguments.out)
    test = SegmentationTest(
        scales=tuple(arguments.scales), mirror=arguments.mirror, upsample=arguments.upsample
    )
    split = arguments.split or scored_split(TASK, arguments.data)[0]
    data = open_data(
        TASK, arguments.data, split, limit=arguments.limit, say=lambda text: print(text, file=sys.stderr)
    )
    named = read_class_embeddings(arguments.classes).ordered(data.classes, arguments.data)
    text = TextSide(file=arguments.classes, tower=named.tower, width=named.values.shape[1])
    kind = "cls" if arguments.through == "cls" else "patch"
    features = image_side(arguments.encoder, arguments.projector, text, kind)
    seen = patch_vectors(features, arguments.through, arguments.encoder)
    model = Segmenter(seen, TextHead(named.values), data.protocol, data.classes, test)  # type: ignore[arg-type]
    model.to(choose_device(arguments.device))
    with SampleProgress(f"scoring {data.spec} ({data.split})") as progress:
        found = evaluate(
            TASK,
            score_segmenter(model, data, None),
            data,
            test,
            pictures=arguments.pictures,
            progress=progress,
        )
    about = {
        **model.describe(),
        "fit": {},
        "zero_shot": {"tower": named.tower, "templates": named.templates, "through": arguments.through},
    }
    command = ["evaluate", "zero-shot-segmentation", *argv]
    files = write_evaluation(arguments.out, TASK, found, data, test, about, command)
    for name, interval in found.scores.items():
        print(f"{TASK.columns_of(found.table)[name].title}: {interval}")
    print(f"wrote {arguments.out}: {', '.join(files)}")
    return 0
