"""Compose a scene from its identity; only this module knows all three domains."""

import gc
from functools import lru_cache

import torch

from codistill.bodies.anny import AnnyBody
from codistill.world.identity import SceneId
from codistill.world.objects import objects_scene
from codistill.world.people import people_scene
from codistill.world.rooms import rooms_scene
from codistill.world.shot import Shot


@lru_cache(maxsize=1)
def world_body() -> AnnyBody:
    """The body model of all people, on the CPU, created once per process."""
    return AnnyBody()


def prepare_worker() -> None:
    """Set up a rendering process with one thread, because there is one process per core.

    Objects of imported modules are then exempt from garbage collection.
    """
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()


def compose(scene_id: SceneId, size: int) -> Shot:
    """Compose a scene with its cameras; `size` is the side of the pictures in pixels.

    Raises:
        MissingExtraError: if a package of the extra `world` is missing.
    """
    if scene_id.domain == "objects":
        return objects_scene(scene_id, size)
    if scene_id.domain == "rooms":
        return rooms_scene(scene_id, size)
    return people_scene(scene_id, size, world_body())
