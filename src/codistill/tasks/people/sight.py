"""All people in an image from shared tokens; see `tasks/shared/seen.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from codistill.bodies.base import BodyModel
from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import DETECTION_THRESHOLD
from codistill.tasks.people.draw import draw_bodies
from codistill.tasks.people.focal import FoundCamera, find_camera
from codistill.tasks.people.load import load_people
from codistill.tasks.people.model import Bodies, PeopleEstimator, PeopleSearch
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.task import Sight, Subject


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    """How people are detected.

    Attributes:
        threshold: smallest score of a detection.
        kernel: side of the neighbourhood in cells in which a detection must be the maximum; 1: no suppression.
        fov: field of view across the longer side in degrees, if no focal length is known; None: 60.
    """

    threshold: float = DETECTION_THRESHOLD
    kernel: int = 3
    fov: float | None = None

    def __post_init__(self) -> None:
        if self.fov is not None and not 0 < self.fov < 180:
            raise ConfigError(f"the field of view must lie between 0 and 180 degrees; got {self.fov}")


@dataclass(frozen=True, repr=False)
class Person:
    """A person in the camera's frame (x right, y down, z forward), metres.

    Attributes:
        score: score of the detection.
        vertices, joints: vertices and joints of the body.
        joints_2d: pixels (x, y) of the image.
        box: left, top, right, bottom of the bounding box of the joints in the image, pixels.
        head, pelvis: these two joints.
    """

    score: float
    vertices: Float[np.ndarray, "vertex 3"]
    joints: Float[np.ndarray, "joint 3"]
    joints_2d: Float[np.ndarray, "joint 2"]
    box: tuple[float, float, float, float]
    head: Float[np.ndarray, "3"]
    pelvis: Float[np.ndarray, "3"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(score {self.score:.2f}, {self.distance:.1f} m away)"

    @property
    def distance(self) -> float:
        """Distance of the head along the camera axis, metres."""
        return float(self.head[2])


@dataclass(frozen=True, repr=False)
class PeopleAnswer(Answer):
    """The people of an image, nearest first.

    Attributes:
        found: all parameters. camera: camera of the image. body: the body model.
    """

    found: Bodies
    camera: FoundCamera
    body: BodyModel

    @property
    def people(self) -> tuple[Person, ...]:
        """The people as single objects."""
        return tuple(self._person(index) for index in range(len(self.found)))

    def _person(self, index: int) -> Person:
        found, places = self.found, self.found.joints_2d[index].numpy()
        left, top, right, bottom = (float(v) for v in (*places.min(0), *places.max(0)))
        return Person(
            score=float(found.score[index]),
            vertices=found.vertices[index].numpy(),
            joints=found.joints[index].numpy(),
            joints_2d=places,
            box=(left, top, right, bottom),
            head=found.head[index].numpy(),
            pelvis=found.pelvis[index].numpy(),
        )

    @property
    def faces(self) -> Int[np.ndarray, "face 3"]:
        """Triangles of every body."""
        return self.body.faces.cpu().numpy()

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """Shaded bodies over the image."""
        vertices = self.found.vertices.numpy()
        return draw_bodies(
            pixels, self.camera.intrinsics.numpy(), vertices, self.faces, largest=max(pixels.shape[:2])
        )

    def text(self) -> str:
        people = self.people
        count = "nobody" if not people else "1 person" if len(people) == 1 else f"{len(people)} people"
        return count + (f", the nearest {people[0].distance:.1f} m away" if people else "")

    def facts(self) -> Mapping[str, Any]:
        people = [
            {
                "score": round(person.score, 4),
                "distance": round(person.distance, 4),
                "pelvis": np.round(person.pelvis.astype(float), 4).tolist(),
                "box": [round(value, 1) for value in person.box],
            }
            for person in self.people
        ]
        focal = round(float(self.camera.intrinsics[0, 0]), 2)
        return {
            "people": people,
            "body": {"name": self.body.name, "licence": self.body.licence},
            "focal": focal,
            "focal_from": self.camera.source,
        }

    def arrays(self) -> Mapping[str, np.ndarray]:
        names = ("score", "vertices", "joints", "joints_2d", "rotmat", "shape", "expression")
        return {name: getattr(self.found, name).numpy() for name in names} | {"faces": self.faces}


def answer(model: "PeopleSight", images: Sequence[Seen]) -> list[PeopleAnswer]:
    """One answer per image."""
    return [_answer(model, seen) for seen in images]


@dataclass
class PeopleSight:
    """An estimator, and the field of view of cameras whose focal length is unknown."""

    estimator: PeopleEstimator
    fov: float | None

    @property
    def features(self) -> Any:
        return self.estimator.features

    @property
    def head(self) -> Any:
        return self.estimator.head

    def to(self, device: Any) -> "PeopleSight":
        self.estimator.to(device)
        return self


def _answer(model: PeopleSight, seen: Seen) -> PeopleAnswer:
    estimator = model.estimator
    camera = find_camera(seen.path, *seen.size, focal=seen.focal, assumed=model.fov)
    fitted = seen.fit(estimator.head.config.patch_size).intrinsics(camera.intrinsics)
    found = estimator.bodies_of(seen.levels, fitted[None], camera.intrinsics)
    return PeopleAnswer(found.within(*seen.size, camera.intrinsics), camera, estimator.body)


def load_on_tokens(subject: Subject, options: PeopleOptions) -> PeopleSight:
    """Load a head on the subject's features; see `load_people`."""
    search = PeopleSearch(threshold=options.threshold, kernel=options.kernel)
    return PeopleSight(load_people(subject, search), options.fov)


SIGHT = Sight(
    answer=answer,
    gives=PeopleAnswer,
    size=lambda model: model.estimator.size,
    options=PeopleOptions,
    load=load_on_tokens,
    prepare=lambda model: model.estimator.body,
)
