"""Run the perception for tabs and REST requests, within the limits, and time it.

In: a checked message. Out: a packet. Everything except `hello` and `refused` runs in the worker's thread.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codistill.errors import unknown_name
from codistill.serve.answers import TOGETHER, Asked, scene_packet, similar_packet
from codistill.serve.facts import depth_ramp, perception_facts, public
from codistill.serve.intake import Pixels, read_picture
from codistill.serve.messages import Describe, MessageError, Picture, See, Similar
from codistill.serve.meters import Meters
from codistill.serve.packets import Packet
from codistill.serve.samples import Samples
from codistill.serve.settings import ServeSettings
from codistill.serve.worker import Worker
from codistill.version import __version__

if TYPE_CHECKING:
    from codistill.perception.perception import Perception
    from codistill.perception.scene import Scene

LOG = logging.getLogger("codistill.serve")


@dataclass(frozen=True)
class Seen:
    """The last scene of a tab.

    Attributes:
        has_faces: whether the tab has received the triangles of the bodies.
    """

    scene: "Scene"
    has_faces: bool


class Looker:
    """A perception that is used within a server's limits.

    Args:
        perception: encoder and heads.
        settings: the limits.
        samples: the shipped pictures.
    """

    def __init__(self, perception: "Perception", settings: ServeSettings, samples: Samples) -> None:
        self.perception, self.settings, self.samples = perception, settings, samples
        self.meters = Meters()
        self.worker = Worker(settings.seconds)
        self.facts = perception_facts(perception)
        self.kinds: dict[str, str] = {head["name"]: head["kind"] for head in self.facts["heads"]}

    def hello(self) -> dict[str, Any]:
        """First message to a tab: encoder and heads, their training data, samples, and limits."""
        limits = ("max_body", "max_pixels", "max_edge", "max_images", "max_fps", "max_points")
        return {
            "type": "hello",
            "version": __version__,
            "perception": self.facts,
            "samples": self.samples.about(),
            "ramp": depth_ramp(),
            "limits": {name: getattr(self.settings, name) for name in limits},
        }

    def refused(self, reason: str, text: str) -> None:
        """Count a refusal, and log it."""
        self.meters.refused.labels(reason).inc()
        LOG.warning("refused (%s): %s", reason, text)

    def check_want(self, want: tuple[str, ...], pictures: int) -> tuple[str, ...]:
        """Those of the wanted answers that are possible with this number of pictures; two-view heads need two.

        Raises:
            MessageError: for an unknown answer.
        """
        for name in want:
            if name not in self.kinds:
                raise MessageError(unknown_name("answer", name, self.kinds))
        return tuple(name for name in want if self.kinds[name] != TOGETHER or pictures > 1)

    def read(self, picture: Picture, max_edge: int | None) -> Pixels:
        """Pixels of a picture; samples are read from memory."""
        data = picture.data if picture.sample is None else self.samples.data(picture.sample)
        return read_picture(data, picture.name, max_pixels=self.settings.max_pixels, max_edge=max_edge)

    def look(self, wish: See, waited: float, before: Seen | None) -> tuple[Seen, Packet]:
        """Compute the scene that a tab asks for.

        Args:
            wish: the tab's message.
            waited: seconds for which it waited for its turn.
            before: the last scene of the tab.
        """
        want = self.check_want(wish.want, len(wish.pictures))
        began = time.perf_counter()
        images = [self.read(picture, self.settings.max_edge) for picture in wish.pictures]
        decoded = time.perf_counter()
        names = tuple(picture.name for picture in wish.pictures)
        basis = before.scene.basis if wish.steady and before is not None else None
        scene = self.perception(images, want=want, names=names, basis=basis)
        seen_at = time.perf_counter()
        has_faces = before is not None and before.has_faces
        points = min(wish.points, self.settings.max_points)
        kinds = {name: self.kinds[name] for name in want}
        asked = Asked(kinds=kinds, points=points, map_edge=wish.map_edge, faces=not has_faces)
        packet = scene_packet(scene, asked, {"id": wish.id})
        packed = time.perf_counter()
        own = {"wait": waited, "decode": decoded - began, "pack": packed - seen_at}
        seconds = own | dict(scene.seconds)
        packet.header["seconds"] = {name: round(value, 6) for name, value in seconds.items()}
        packet.header["total"] = round(packed - began + waited, 6)
        self.meters.observe("tab", seconds)
        sent = has_faces or any(blob["name"] == "faces" for blob in packet.blobs)
        return Seen(scene, sent), packet

    def similar(self, wish: Similar, seen: Seen) -> Packet:
        """Similarity of all patches of the tab's last scene to one of them.

        Raises:
            MessageError: for a patch that does not exist.
        """
        scene = seen.scene
        if wish.image >= len(scene):
            raise MessageError(f"image {wish.image} of a scene of {len(scene)}")
        rows, columns = scene.pca[wish.image].shape[:2]
        if wish.row >= rows or wish.column >= columns:
            raise MessageError(f"patch ({wish.row}, {wish.column}) of a grid of {rows}x{columns}")
        maps = scene.similar(wish.image, wish.row, wish.column)
        about = {"id": wish.id, "image": wish.image, "row": wish.row, "column": wish.column}
        return similar_packet(maps, about)

    def describe(self, wish: Describe, seen: Seen) -> Packet:
        """The tab's last scene as JSON."""
        return Packet({"type": "description", "id": wish.id, "scene": public(seen.scene.as_json())})
