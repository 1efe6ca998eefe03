"""`codistill reconstruct IMAGE IMAGE… --head DIR|--model FILE --out scene.glb`: cameras and coloured points."""

import math
from dataclasses import asdict
from pathlib import Path

from codistill.commands.parsers.reconstruct import parse, robust_config
from codistill.commands.predicting import check_results, say_repeated, say_shipped
from codistill.commands.progress_bar import SampleProgress
from codistill.commands.task_config import make_runtime, typed_features
from codistill.errors import ConfigError
from codistill.imaging.pictures import save_picture
from codistill.tasks.task import ImageFile, Subject
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig
from codistill.tasks.two_view.reconstruct.files import check_target, write_scene
from codistill.tasks.two_view.reconstruct.images import read_image
from codistill.tasks.two_view.reconstruct.preview import preview
from codistill.tasks.two_view.reconstruct.reconstruct import ReconstructConfig, reconstruct
from codistill.tasks.two_view.reconstruct.scene import Scene
from codistill.tasks.two_view.task import TASK


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.unnamed:
        say_shipped(arguments.head.parent.parent.name, "--head")
    if arguments.focal is not None and not 0 < arguments.focal < math.inf:
        raise ConfigError(f"--focal must be above 0 pixels; got {arguments.focal:g}")
    if arguments.long_edge is not None and arguments.long_edge < 1:
        raise ConfigError(f"--long-edge must be 1 pixel or more; got {arguments.long_edge}")
    config = ReconstructConfig(
        window=arguments.window,
        min_matches=arguments.min_matches,
        min_confidence=arguments.min_confidence,
        align=AlignConfig(iterations=arguments.iterations),
        robust=robust_config(arguments),
    )
    for path in arguments.out:
        if path.name in ("", ".."):
            raise ConfigError(f"--out {path}: name the folder, after which the files beside it are called")
        check_target(path)
    written, first = list(arguments.out), arguments.out[0]
    if first.with_suffix(".json") not in written:
        written.append(first.with_suffix(".json"))
    picture = first.with_suffix(".png")
    given = [ImageFile(Path(path), path) for path in arguments.images]
    check_results(given, [*written, picture])
    images = [read_image(path, arguments.focal) for path in arguments.images]
    if len(images) < 2:
        raise ConfigError("a reconstruction needs two images at least; got 1")
    say_repeated([image.path for image in images], [image.pixels for image in images])
    named = [] if arguments.encoder is None else ["--encoder", arguments.encoder]
    opened = open_two_view(
        Subject(
            head=arguments.head,
            model=arguments.model,
            features=typed_features(TASK, arguments.head, named),
            other_encoder=arguments.other_encoder,
        )
    )
    runtime = make_runtime(arguments, Path(), [])
    predictor = TwoViewPredictor(opened, long_edge=arguments.long_edge).to(runtime.device)
    with SampleProgress("looking at pairs") as progress:
        scene = reconstruct(predictor, images, config, progress)
    about = {"command": ["reconstruct", *argv], "model": opened.about, "settings": asdict(config)}
    for path in written:
        write_scene(scene, path, about)
    save_picture(preview(scene), picture)
    _print(scene, config.min_matches)
    print(f"wrote {', '.join(map(str, [*written, picture]))}")
    return 0


def _print(scene: Scene, least: int) -> None:
    for camera in scene.cameras:
        x, y, z = camera.camera_to_world[:3, 3]
        source = "known" if camera.known_focal else "estimated"
        print(
            f"{camera.image.path}: focal {camera.focal:.0f} px ({source}), at ({x:.2f}, {y:.2f}, {z:.2f}) m"
        )
    for link in scene.links:
        left_out = "; left out" if link.inliers < least else ""
        print(
            f"pair {link.first + 1}-{link.second + 1}: {link.inliers} of {len(link.matches)} matches agree{left_out}"
        )
    if scene.losses:
        print(f"alignment: {scene.losses[0]:.4f} → {scene.losses[-1]:.4f} in {len(scene.losses)} steps")
    print(f"{len(scene.points)} points")
