"""`codistill evaluate segmentation --head HEAD | --encoder E --data SPEC`: mIoU, intervals, pictures, comparisons."""

from dataclasses import replace

from codistill.commands import fit_segmentation
from codistill.commands.evaluated_head import head_to_evaluate
from codistill.commands.evaluation_output import (
    as_array,
    comparison,
    print_scores,
    read_per_image,
    write_evaluation,
)
from codistill.commands.head_options import ImageProgress, make_runtime
from codistill.commands.parsers.evaluate_segmentation import parse
from codistill.commands.parsers.head_options import parse_numbers
from codistill.imaging.legends import legend_picture
from codistill.tasks.dense.segmentation.data import SegmentationData, classes_seen, open_segmentation
from codistill.tasks.dense.segmentation.evaluate import SegmentationResult, difference, evaluate_segmentation
from codistill.tasks.dense.segmentation.fit import fit_segmentation as fit
from codistill.tasks.dense.segmentation.predict import SegmentationTest, load_segmenter
from codistill.tasks.shared.data import check_data, limited


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    scales = parse_numbers(arguments.scales, float, "--scales") or (1.0,)
    test = SegmentationTest(scales=scales, mirror=arguments.mirror)

    def opened(spec: str, split: str) -> SegmentationData:
        data = open_segmentation(spec, split, partial=arguments.partial)
        data = replace(data, samples=limited(data.samples, arguments.limit))
        check_data(data.samples, f"{spec} ({split})")
        about = "" if arguments.head else classes_seen(data, several=False).about("scoring")
        if about:
            print(about)  # before a head is fitted
        return data

    head, data = head_to_evaluate(
        arguments, argv, "segmentation", fit_segmentation.config_of, fit, fit_segmentation.NORM, opened
    )
    segmenter = load_segmenter(
        head.path,
        features=head.features,
        test=test,
        protocol=data.protocol,
        classes=data.classes,
        other_encoder=arguments.other_encoder,
    )
    out = head.out(arguments.out)
    runtime = make_runtime(arguments, out, [])
    with ImageProgress(f"segmenting {data.spec} ({data.split})") as progress:
        result = evaluate_segmentation(
            segmenter.to(runtime.device), data, pictures=arguments.pictures, progress=progress
        )
    print_scores(
        f"{segmenter.features.config.encoder} on {data.spec} ({data.split})",
        result.intervals(),
        result.groups,
    )
    absent = result.absent_classes()
    if absent:
        wrong = sum(absent.values())
        listed = f"{', '.join(list(absent)[:8])}{' …' if len(absent) > 8 else ''}"
        print(
            f"{len(absent)} of {len(result.classes)} classes have no labelled pixel in these images ({listed}): "
            f"{len(absent) - wrong} are left out of the means, {wrong} were predicted and count as 0 in mIoU"
        )
    numbers = {
        "task": "segmentation",
        "unit": "per cent",
        "interval": result.groups.about(),
        "data": data.spec,
        "split": data.split,
        "images": len(result.names),
        "encoder": segmenter.features.describe(),
        "test": {"scales": list(test.scales), "mirror": test.mirror, "mode": segmenter.protocol.mode},
        "fit": head.fit,
        **result.summary(),
    }
    if arguments.against is not None:
        counts, names = read_per_image(arguments.against, "counts")
        other = SegmentationResult(counts, names, result.groups, result.classes, [])
        numbers["comparison"] = comparison(
            arguments.against, "miou", difference(result, other), arguments.margin
        )
    write_evaluation(
        out,
        numbers,
        {"counts": result.counts, **as_array(result.groups)},
        result.names,
        result.pictures,
        ["evaluate", "segmentation", *argv],
        legend=lambda width: legend_picture(result.classes, result.common_classes(), width),
    )
    print(f"wrote {out}: metrics.json, per_image.npz{', pictures.png' if result.pictures else ''}")
    return 0
