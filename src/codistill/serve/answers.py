"""Encode a scene as one packet for a browser: reduced maps, quantized point clouds and bodies, numbers in the header.

In: a `Scene` with its answers computed, and what the tab asked for. Out: a `Packet`, whose arrays are named HEAD/IMAGE
(`depth/0`), and whose header says the kind of each head's answer. The browser computes all colours itself, so that it
can show the class and the depth under the pointer without a request. Heads of other kinds send the picture that they
draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from codistill.imaging.colours import depth_range
from codistill.serve.clouds import on_surfaces, quantize, without_outliers
from codistill.serve.packets import Packet

if TYPE_CHECKING:
    from codistill.perception.scene import Scene

MAX_MATCHES = 400
UNSURE = 0.2
"""Share of the points of two views that are left out, those of lowest confidence."""

DEPTH_STEPS = 65535
"""The largest value of an encoded depth map; 0 means unknown."""

TOGETHER = "two_view"
"""The kind of heads that see several pictures of one place together."""

KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals", "people": "people"} | {
    "two-view": TOGETHER,
    "knn": "labels",
    "linear": "labels",
}
"""Kinds of answers that the page supports, by task; answers of other tasks are sent as pictures."""


def kind_of(task: str) -> str:
    """The kind of a task's answers."""
    return KINDS.get(task, "picture")


@dataclass(frozen=True)
class Asked:
    """What a tab asks for in a scene; see `messages.See`.

    Attributes:
        kinds: kinds of the wanted heads, by the heads' names.
        faces: whether the triangles of bodies are wanted too.
    """

    kinds: Mapping[str, str]
    points: int
    map_edge: int
    faces: bool

    def named(self, kind: str) -> list[str]:
        """The wanted heads of a kind."""
        return [name for name, its in self.kinds.items() if its == kind]


@dataclass(frozen=True)
class _Place:
    """A head's answer on a picture, to be written into a packet.

    Attributes:
        rows, columns: rows and columns of a map that are kept.
    """

    packet: Packet
    scene: "Scene"
    name: str
    number: int
    rows: np.ndarray
    columns: np.ndarray

    @property
    def answer(self) -> Any:
        return self.scene.answer(self.name, self.number)

    def kept(self, values: np.ndarray) -> np.ndarray:
        """The kept rows and columns of a map; no copy is made if all are kept, as in most streams."""
        for axis, chosen in enumerate((self.rows, self.columns)):
            if len(chosen) < values.shape[axis]:
                values = values.take(chosen, axis)
        return values

    def add(self, values: np.ndarray, *, deflate: bool = False) -> None:
        self.packet.add(f"{self.name}/{self.number}", values, deflate=deflate)


def scene_packet(scene: "Scene", asked: Asked, about: dict[str, Any]) -> Packet:
    """Encode a scene as a packet.

    Args:
        scene: a scene with the wanted answers.
        asked: what the tab asked for.
        about: further entries of the header (`id`).
    """
    packet = Packet(about | {"type": "scene"})
    packet.header["images"] = [
        {"name": name} | _image(packet, scene, asked, number) for number, name in enumerate(scene.names)
    ]
    for name in asked.named("people"):
        answers: list[Any] = [scene.answer(name, number) for number in range(len(scene))]
        if asked.faces and any(answer.people for answer in answers):
            packet.add("faces", np.asarray(answers[0].faces, dtype=np.uint32))
            break
    if len(scene) > 1:
        for name in asked.named(TOGETHER):
            packet.header["two_view"] = _two_view(packet, scene.answer(name))
    return packet


def similar_packet(maps: Sequence[Float[np.ndarray, "row column"]], about: dict[str, Any]) -> Packet:
    """Packet of every patch's cosine similarity to one patch, per picture, as bytes: 0 is -1 or NaN, 255 is 1."""
    packet = Packet(about | {"type": "similar"})
    for number, cosines in enumerate(maps):
        values = np.nan_to_num(np.asarray(cosines, dtype=np.float32), nan=-1.0)
        packet.add(f"similar/{number}", np.round((values.clip(-1.0, 1.0) + 1.0) * 127.5).astype(np.uint8))
    return packet


def _image(packet: Packet, scene: "Scene", asked: Asked, number: int) -> dict[str, Any]:
    height, width = scene.images[number].shape[:2]
    features = np.asarray(scene.pca[number])
    packet.add(f"features/{number}", features)
    camera = scene.camera(number).intrinsics
    about = {"height": height, "width": width, "grid": list(features.shape[:2]), "focal": float(camera[0, 0])}
    rows, columns = places((height, width), asked.map_edge)
    about["answers"] = {
        name: {"kind": kind} | _ANSWERS[kind](_Place(packet, scene, name, number, rows, columns))
        for name, kind in asked.kinds.items()
        if kind != TOGETHER
    }
    cloud = _cloud(scene, asked, number) if asked.points else None
    if cloud is not None:
        about["cloud"] = _add_cloud(packet, number, *cloud)
    return about


def places(sides: tuple[int, int], edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns to keep, so that a map's longer side is at most `edge`: the centres of equal parts."""
    rows, columns = (min(side, max(1, round(side * edge / max(sides)))) for side in sides)
    row = ((np.arange(rows) + 0.5) * sides[0] / rows).astype(np.int64)
    column = ((np.arange(columns) + 0.5) * sides[1] / columns).astype(np.int64)
    return row, column


def _segmentation(place: _Place) -> dict[str, Any]:
    answer = place.answer
    place.add(place.kept(answer.classes), deflate=True)
    counts = np.bincount(answer.classes.ravel(), minlength=256) / answer.classes.size
    present = [int(i) for i in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]]
    known, palette = len(answer.names), np.asarray(answer.palette)
    return {
        "classes": [
            {
                "number": i,
                "name": answer.names[i] if i < known else "no class",
                "colour": palette[i].tolist() if i < known else [90, 90, 90],
                "share": round(float(counts[i]), 5),
            }
            for i in present
        ]
    }


def _depth(place: _Place) -> dict[str, Any]:
    depth = place.kept(np.asarray(place.answer.metres))
    known = np.isfinite(depth) & (depth > 0)
    metres = depth if known.all() else np.where(known, depth, np.float32(0.0))
    far = float(metres.max()) or 1.0
    low, high = depth_range(metres)
    steps = (metres * np.float32(DEPTH_STEPS / far) + np.float32(0.5)).astype(np.uint16)
    place.add(np.maximum(steps, 1) * known)
    return {"step": far / DEPTH_STEPS, "far": far, "low": low, "high": high}


def _normals(place: _Place) -> dict[str, Any]:
    kept = place.kept(np.asarray(place.answer.normals)) * np.float32(127.0)
    if not np.isfinite(kept.sum()):  # the sum is finite if, as nearly always, no normal is unknown
        kept = np.nan_to_num(kept, posinf=0.0, neginf=0.0)
    place.add(np.rint(kept, out=kept).clip(-127.0, 127.0, out=kept).astype(np.int8))
    return {}


def _people(place: _Place) -> dict[str, Any]:
    found = []
    for index, person in enumerate(place.answer.people):
        body = quantize(np.asarray(person.vertices, dtype=np.float32))
        place.packet.add(f"body/{place.number}/{index}", body.values)
        joints = np.asarray(person.joints_2d, dtype=np.float64)
        about = {
            "score": round(float(person.score), 4),
            "box": _rounded(person.box),
            "joints": _rounded(joints),
        }
        found.append(about | {"body": body.about()})
    return {"people": found}


def _labels(place: _Place) -> dict[str, Any]:
    top = [{"name": str(name), "score": round(float(score), 4)} for name, score in place.answer.best.items()]
    return {"top": top}


def _picture(place: _Place) -> dict[str, Any]:
    place.add(place.kept(np.asarray(place.scene.draw(place.name, place.number), dtype=np.uint8)))
    return {}


def _cloud(scene: "Scene", asked: Asked, number: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Points of a picture and their colours; None if no answer that the tab wants has points.

    The points of two views of one place are in the first camera's frame. Points from depth are in the frame of each
    picture's own camera, so only those of the first picture are shown.
    """
    together = asked.named(TOGETHER) if len(scene) > 1 else []
    answer: Any
    if together:
        answer = scene.answer(together[0])
        confidence = np.asarray(answer.confidence[number])
        trusted = confidence >= np.quantile(confidence, UNSURE)
        points, colours = (np.asarray(part[number])[trusted] for part in (answer.pointmaps, answer.colours))
        step = -(-len(points) // asked.points)
        return points[::step], colours[::step]
    depths = asked.named("depth")
    if not depths or number:
        return None
    answer = scene.answer(depths[0], 0)
    points, colours = scene.cloud_of(answer, 0, limit=asked.points)
    kept = on_surfaces(points)
    return points[kept], colours[kept]


def _add_cloud(packet: Packet, number: int, points: np.ndarray, colours: np.ndarray) -> dict[str, object]:
    points = np.asarray(points, dtype=np.float32)
    kept = without_outliers(points)
    cloud = quantize(points[kept])
    packet.add(f"points/{number}", cloud.values)
    packet.add(f"colours/{number}", np.asarray(colours, dtype=np.uint8)[kept])
    return cloud.about()


def _two_view(packet: Packet, answer: Any) -> dict[str, Any]:
    pairs = []
    for (first, second), matches in sorted(answer.matches.items()):
        matches = np.asarray(matches, dtype=np.float32)
        shown = matches[np.linspace(0, len(matches) - 1, min(MAX_MATCHES, len(matches))).astype(np.int64)]
        packet.add(f"matches/{first}/{second}", shown)
        pairs.append({"first": first, "second": second, "matches": len(matches)})
    return {
        "pairs": pairs,
        "cameras": np.asarray(answer.cameras, dtype=np.float64).round(6).tolist(),
        "focals": np.asarray(answer.focals, dtype=np.float64).round(3).tolist(),
    }


def _rounded(values: Any) -> Any:
    return np.asarray(values, dtype=np.float64).round(1).tolist()


_ANSWERS: dict[str, Callable[[_Place], dict[str, Any]]] = {
    "segmentation": _segmentation,
    "depth": _depth,
    "normals": _normals,
    "people": _people,
    "labels": _labels,
    "picture": _picture,
}
"""Function that encodes the answer of each kind."""
