"""`codistill people IMAGE… --head HEAD --out DIR`: bodies as pictures (PNG), numbers (JSON) and meshes (GLB)."""

import argparse

import numpy as np

from codistill.commands.head_options import head_features, make_runtime
from codistill.commands.parsers.people import NORM, parse
from codistill.commands.predicting import ImageFile, Predicted, find_images, run_predictions
from codistill.files.json_files import write_json
from codistill.imaging.pictures import as_picture, save_picture
from codistill.tasks.people.draw import Mark, people_picture
from codistill.tasks.people.export import people_json, write_glb
from codistill.tasks.people.focal import find_camera
from codistill.tasks.people.predict import PeopleEstimator, PeopleTest, load_people


def test_of(arguments: argparse.Namespace) -> PeopleTest:
    """The test that was asked for."""
    return PeopleTest(threshold=arguments.threshold, kernel=arguments.kernel, size=arguments.test_size)


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    images = find_images(arguments.images)
    estimator = load_people(
        arguments.head,
        features=head_features(arguments, norm=NORM, task="people"),
        other_encoder=arguments.other_encoder,
        test=test_of(arguments),
    )
    estimator.to(make_runtime(arguments, arguments.out, []).device)
    return run_predictions(
        images,
        arguments.out,
        lambda pixels, image: _found(estimator, pixels, image, arguments),
        as_json=arguments.json,
    )


def _found(
    estimator: PeopleEstimator, pixels: np.ndarray, image: ImageFile, arguments: argparse.Namespace
) -> Predicted:
    size = (pixels.shape[0], pixels.shape[1])
    camera = find_camera(image.path, *size, focal=arguments.focal, field_of_view=arguments.fov)
    found = estimator(pixels, camera.intrinsics).within(*size, camera.intrinsics)
    intrinsics, vertices = camera.intrinsics.numpy(), found.vertices.numpy()
    faces = estimator.body.faces.cpu().numpy()
    marks = [
        Mark(f"{number}: {float(z):.1f} m", (float(x), float(y)))
        for number, ((x, y), z) in enumerate(
            zip(found.joints_2d[:, estimator.body.head_idx], found.head[:, 2], strict=True), start=1
        )
    ]
    picture = people_picture(pixels, intrinsics, vertices, faces, marks)
    files = [image.within(arguments.out, suffix) for suffix in (".png", ".json", ".glb")]
    save_picture(as_picture(picture, picture.shape[:2]), files[0])
    write_json(files[1], people_json(str(image.path), size, camera, estimator.body, found))
    write_glb(files[2], vertices, faces, camera, size)
    nearest = f", the nearest {float(found.head[0, 2]):.1f} m away" if len(found) else ""
    people = "nobody" if not len(found) else "1 person" if len(found) == 1 else f"{len(found)} people"
    facts = {
        "people": [
            {"score": round(float(score), 4), "distance": round(float(head[2]), 4)}
            for score, head in zip(found.score, found.head, strict=True)
        ],
        "focal_from": camera.source,
    }
    return Predicted(f"{people}{nearest} (focal length: {camera.source})", files, facts)
