"""`codistill people IMAGE… --head HEAD --out DIR`: bodies as pictures (PNG), numbers (JSON) and meshes (GLB)."""

import argparse
from pathlib import Path

from codistill.commands.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
    head_features,
    make_runtime,
)
from codistill.commands.prediction_output import out_paths
from codistill.imaging import read_rgb
from codistill.imaging.pictures import as_picture, save_picture
from codistill.tasks.people.draw import people_picture
from codistill.tasks.people.export import people_json, write_glb
from codistill.tasks.people.focal import find_camera
from codistill.tasks.people.predict import PeopleTest, load_people
from codistill.weights.jsonfile import write_json

NORM = False


def add_test_options(parser: argparse.ArgumentParser) -> None:
    """How people are looked for."""
    parser.add_argument(
        "--threshold", type=float, default=PeopleTest.threshold, help=f"least score ({PeopleTest.threshold})"
    )
    parser.add_argument(
        "--kernel", type=int, default=PeopleTest.kernel, help="suppress weaker neighbours; 1: never (3)"
    )
    parser.add_argument(
        "--test-size", type=int, metavar="PIXELS", help="side of what the encoder sees (the head's)"
    )


def test_of(arguments: argparse.Namespace) -> PeopleTest:
    """The test that was asked for."""
    return PeopleTest(threshold=arguments.threshold, kernel=arguments.kernel, size=arguments.test_size)


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="codistill people",
        description="Everybody in an image as a body in metres: DIR/NAME.png (meshes over the image, and from above), "
        "DIR/NAME.json (parameters, joints), DIR/NAME.glb (meshes and camera).",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument(
        "--head",
        required=True,
        metavar="HEAD",
        help="of `codistill fit people`, or a released Multi-HMR file",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length, if it is known")
    parser.add_argument(
        "--fov",
        type=float,
        metavar="DEGREES",
        help="field of view across the longer side (from EXIF, else 60 is assumed)",
    )
    add_test_options(parser)
    add_feature_options(parser, norm=NORM)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    arguments = parser.parse_args(argv)
    paths = out_paths(arguments.images, arguments.out)
    estimator = load_people(
        arguments.head,
        features=head_features(arguments, norm=NORM, task="people"),
        other_encoder=arguments.other_encoder,
        test=test_of(arguments),
    )
    estimator.to(make_runtime(arguments, arguments.out, []).device)
    faces = estimator.body.faces.cpu().numpy()
    for image_path, path in zip(arguments.images, paths, strict=True):
        image = read_rgb(image_path)
        size = (image.shape[0], image.shape[1])
        camera = find_camera(Path(image_path), *size, focal=arguments.focal, field_of_view=arguments.fov)
        found = estimator(image, camera.intrinsics).within(*size, camera.intrinsics)
        intrinsics, vertices = camera.intrinsics.numpy(), found.vertices.numpy()
        picture = people_picture(image, intrinsics, vertices, faces)
        save_picture(as_picture(picture, picture.shape[:2]), path.with_suffix(".png"))
        write_json(path.with_suffix(".json"), people_json(image_path, size, camera, estimator.body, found))
        write_glb(path.with_suffix(".glb"), vertices, faces, camera, size)
        nearest = f", the nearest {float(found.head[0, 2]):.1f} m away" if len(found) else ""
        people = "nobody" if not len(found) else "1 person" if len(found) == 1 else f"{len(found)} people"
        print(f"{path.with_suffix('.png')}: {people}{nearest} (focal length: {camera.source})")
    return 0
