"""`codistill analyze RUN|E…`: the paper's analysis figures, for a run's held-out images or for given images."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from codistill.analysis.correlation import PairCorrelation, correlations_of_run
from codistill.analysis.variance import ExplainedVariance, explained_variance
from codistill.commands.analyze_images import analyze_images, drawn_files, save_register_neurons
from codistill.commands.parsers.analyze import parse
from codistill.commands.predicting import check_results
from codistill.commands.short_names import short_names
from codistill.data import eval_loader
from codistill.errors import ConfigError
from codistill.files.own_code import is_own
from codistill.recipes.build import build_bank, loader_config
from codistill.recipes.places import read_run_recipe
from codistill.student.load import load_student
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.task import ImageFile

CORRELATION_FIGURE = "loss_correlation.png"


def variance_figure(results: dict[str, ExplainedVariance], path: Path) -> None:
    """Plot the cumulative explained variance: teachers solid, the student's projections dashed (Fig. 4)."""
    figure, axes = plt.subplots(figsize=(5.2, 3.6), constrained_layout=True)
    for index, (name, result) in enumerate(results.items()):
        for curve, style in ((result.teacher, "-"), (result.student, "--")):
            label = name if style == "-" else f"{name}, projection"
            axes.plot(range(1, len(curve) + 1), curve, style, color=f"C{index}", label=label)
    axes.set(xlabel="components", ylabel="share of the variance", xscale="log", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def correlation_figure(runs: Mapping[str, list[PairCorrelation]], path: Path) -> None:
    """Plot the correlation of loss changes for each pair of teachers, with 95 % intervals (Fig. 5).

    Args:
        runs: for each run by name one result for each pair. Runs need not have the same pairs.
        path: of the picture.
    """
    names = list(dict.fromkeys(f"{pair.first}\n{pair.second}" for pairs in runs.values() for pair in pairs))
    height = 0.8 / len(runs)
    size = (5.2, 0.8 + len(names) * max(0.5, 0.22 * len(runs)))
    figure, axes = plt.subplots(figsize=size, constrained_layout=True)
    for number, (run, pairs) in enumerate(runs.items()):
        places = [
            names.index(f"{p.first}\n{p.second}") + (number - (len(runs) - 1) / 2) * height for p in pairs
        ]
        values = np.array([(pair.correlation, pair.low, pair.high) for pair in pairs]).T
        errors = np.nan_to_num(np.abs(values[1:] - values[0]))
        axes.barh(
            places, values[0], xerr=errors, color=f"C{number}", height=height * 0.9, label=run, ecolor="0.3"
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlim=(min(axes.get_xlim()[0], 0), 1), xlabel="correlation of loss changes from update to update")
    axes.tick_params(labelsize=8)
    if len(runs) > 1:
        figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def analyze_run(run: Path, out: Path, command: list[str], *, variance: bool = True) -> dict[str, Any]:
    """Write all analyses that are possible for a run to a folder; returns the content of analysis.json.

    Args:
        run: folder of the run.
        out: folder of the results.
        command: for the record.
        variance: also compute the explained variance, for which all teachers see the held-out images.
    """
    mpl.use("Agg")
    out.mkdir(parents=True, exist_ok=True)
    recipe = read_run_recipe(run)
    numbers: dict[str, Any] = {"run": run.name}
    pairs = correlations_of_run(run)
    if pairs:
        numbers["loss_correlation"] = [pair.as_json() for pair in pairs]
        correlation_figure({run.name: pairs}, out / CORRELATION_FIGURE)
    if variance and recipe.held_out_sources:
        loader = replace(loader_config(recipe), num_workers=0)
        batches = eval_loader(recipe.held_out_sources, loader)
        kind = recipe.student.projector.kind
        student = load_student(str(run), projector=kind if is_own(kind) else None)
        results = explained_variance(student, build_bank(recipe), batches)
        variance_figure(results, out / "explained_variance.png")
        numbers["explained_variance"] = {
            name: {
                "tokens": result.tokens,
                "components for 90 %": dict(
                    zip(("teacher", "student"), result.components_for(0.9), strict=True)
                ),
                "teacher": [round(float(v), 5) for v in result.teacher],
                "student": [round(float(v), 5) for v in result.student],
            }
            for name, result in results.items()
        }
    write_metrics(out / "analysis.json", numbers, command)
    return numbers


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.images:
        return _of_images(arguments, argv)
    if arguments.register_neurons is not None:
        raise ConfigError("--register-neurons looks at encoders on images: add --images a.jpg b.jpg …")
    for target in arguments.targets:
        if not (Path(target) / "config.yaml").is_file():
            raise ConfigError(
                f"{target}: is no run of `codistill distill` (no config.yaml there). To look at an encoder, name "
                "images: codistill analyze E --images a.jpg b.jpg"
            )
    runs = dict(zip(short_names(arguments.targets), map(Path, arguments.targets), strict=True))
    together = arguments.out if len(runs) > 1 else None
    for name, run in runs.items():
        folder = together / name if together else arguments.out or run / "analysis"
        _of_run(run, folder, argv, variance=arguments.variance)
    if together:
        pairs = {name: found for name, run in runs.items() if (found := correlations_of_run(run))}
        if pairs:
            correlation_figure(pairs, together / CORRELATION_FIGURE)
            numbers = {name: [pair.as_json() for pair in found] for name, found in pairs.items()}
            write_metrics(together / "analysis.json", {"loss_correlation": numbers}, ["analyze", *argv])
            print(f"wrote {together}: {CORRELATION_FIGURE} of {len(pairs)} runs together")
    return 0


def _of_images(arguments: argparse.Namespace, argv: list[str]) -> int:
    if arguments.size < 1:
        raise ConfigError(f"--size must be positive; got {arguments.size}")
    out = arguments.out or Path("analysis")
    images = [ImageFile(Path(image), image) for image in arguments.images]
    check_results(images, [out / name for name in drawn_files(len(arguments.targets))])
    numbers = analyze_images(
        arguments.targets, arguments.images, arguments.size, arguments.block, out, ["analyze", *argv]
    )
    if arguments.register_neurons is not None:
        for name, file in save_register_neurons(
            arguments.targets, arguments.images, arguments.size, arguments.register_neurons, out
        ).items():
            print(f"{name}: load it as {name},register_neurons={file}")
    for name in numbers["attention"]["without"]:
        print(f"{name}: has no attention maps (it is not one of our vision transformers)")
    for name, by_time in numbers["artefacts"].items():
        for when, facts in by_time.items():
            fixed = (
                f", fixed pattern {100 * facts['fixed_pattern']:.1f} %" if "fixed_pattern" in facts else ""
            )
            print(
                f"{name}, {when}: {100 * facts['long_share']:.2f} % of the tokens are longer than "
                f"{facts['long_from']:.3g} (median {facts['length at 50 %']:.3g}){fixed}"
            )
    for name, facts in numbers.get("nearest_patches", {}).items():
        print(f"{name}: nearest patches: " + ", ".join(f"{key} {value:.3f}" for key, value in facts.items()))
    print(f"wrote {out}: {len(arguments.images)} image(s), {len(arguments.targets)} encoder(s)")
    return 0


def _of_run(run: Path, out: Path, argv: list[str], *, variance: bool) -> None:
    numbers = analyze_run(run, out, ["analyze", *argv], variance=variance)
    for pair in correlations_of_run(run):
        print(
            f"losses of {pair.first} and {pair.second}: correlation of changes {pair.correlation:+.3f} "
            f"[{pair.low:+.3f}, {pair.high:+.3f}], "
            f"same direction at {100 * pair.agreement:.0f} % of {pair.updates} updates"
        )
    for name, result in numbers.get("explained_variance", {}).items():
        print(f"{name}: components for 90 % of the variance: {json.dumps(result['components for 90 %'])}")
    print(f"wrote {out}")
