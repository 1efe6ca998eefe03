"""Who gets which cell: against a slow assignment, the nearest of a cell, borders, people that cannot be seen."""

from dataclasses import replace

import pytest
import torch
from people_toys import made_cameras, made_truth
from torch import Tensor

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError
from codistill.geometry.projection import unproject
from codistill.heads.human_mesh.camera import cell_centers, encode_depth
from codistill.heads.human_mesh.targets import PeopleTruth, TargetConfig, assign_people, with_vertices

K = made_cameras(1)


def standing(
    pixels: list[tuple[float, float]], depths: list[float], image: list[int] | None = None
) -> PeopleTruth:
    """People whose heads are seen at these pixels; the pelvis half a metre below and 10 cm behind."""
    depth = torch.tensor(depths)
    head = unproject(torch.tensor(pixels), depth, K.expand(len(depths), 3, 3))
    pelvis = head + torch.tensor([0.0, 0.5, 0.1])
    joints = torch.stack((pelvis, head), dim=1)
    return PeopleTruth(torch.tensor(image or [0] * len(depths)), head, pelvis, joints)


def slow(truth: PeopleTruth, cameras: Tensor, grid: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(image, row, column, person), the nearest first within each image."""
    found = []
    for image in range(len(cameras)):
        taken = set()
        mine = [i for i in range(len(truth)) if int(truth.image[i]) == image]
        for person in sorted(mine, key=lambda i: float(truth.pelvis[i, 2])):
            x, y, z = (cameras[image] @ truth.head[person]).tolist()
            column = min(max(int((x / z + 0.5) // 14), 0), grid[1] - 1)
            row = min(max(int((y / z + 0.5) // 14), 0), grid[0] - 1)
            if (row, column) not in taken:
                taken.add((row, column))
                found.append((image, row, column, person))
    return found


def test_equals_a_slow_assignment() -> None:
    truth, cameras = made_truth(TinyBody(), people=60, batch=3), made_cameras(3)
    targets = assign_people(truth, cameras, (5, 7), 14)
    cells = targets.cells
    found = torch.stack((cells.image, cells.row, cells.column, targets.kept), dim=1)
    assert [tuple(row) for row in found.tolist()] == slow(truth, cameras, (5, 7))
    assert 3 < len(found) < 60
    assert targets.score_map.shape == (3, 5, 7) and targets.score_map.sum() == len(found)
    assert (targets.score_map[cells.image, cells.row, cells.column] == 1).all()
    # Cell centre and offset together are where the head is seen.
    place = cell_centers(cells.row + targets.offset[:, 1], cells.column + targets.offset[:, 0], 14)
    back = unproject(place, targets.truth.head[:, 2], cameras[cells.image])
    torch.testing.assert_close(back, targets.truth.head, atol=1e-4, rtol=1e-4)


def test_of_two_in_one_cell_the_nearer_stays() -> None:
    truth = standing([(30.0, 30.0), (33.0, 31.0), (60.0, 30.0)], [5.0, 4.0, 2.0])
    targets = assign_people(truth, K, (6, 6), 14)
    assert targets.kept.tolist() == [2, 1]
    assert targets.cells.row.tolist() == [2, 2] and targets.cells.column.tolist() == [4, 2]
    same_pixel_other_image = standing([(30.0, 30.0), (30.0, 30.0)], [5.0, 4.0], [0, 1])
    assert len(assign_people(same_pixel_other_image, K.repeat(2, 1, 1), (6, 6), 14).kept) == 2


def test_nearness_can_be_given() -> None:
    truth = standing([(30.0, 30.0), (33.0, 31.0)], [5.0, 4.0])
    targets = assign_people(truth, K, (6, 6), 14, nearness=torch.tensor([1.0, 2.0]))
    assert targets.kept.tolist() == [0]


def test_a_head_outside_is_clamped_to_the_border_or_dropped() -> None:
    truth = standing([(-20.5, 20.0), (83.0, 83.0), (83.6, 20.0)], [3.0, 3.0, 3.0])
    targets = assign_people(truth, K, (6, 6), 14)
    assert list(zip(targets.cells.row.tolist(), targets.cells.column.tolist(), strict=True)) == [
        (1, 0),
        (5, 5),
        (1, 5),
    ]
    assert float(targets.offset[0, 0]) == pytest.approx((-20.5 + 0.5 - 7) / 14, abs=1e-5)
    inside = assign_people(truth, K, (6, 6), 14, TargetConfig(outside="drop"))
    assert inside.kept.tolist() == [1]  # the image ends at pixel 83.5


def test_people_behind_the_camera_are_left_out() -> None:
    truth = standing([(30.0, 30.0), (60.0, 60.0)], [3.0, 3.0])
    behind = replace(truth, pelvis=truth.pelvis * torch.tensor([[1.0], [-1.0]]))
    assert assign_people(behind, K, (6, 6), 14).kept.tolist() == [0]
    nowhere = replace(truth, head=torch.zeros(2, 3))
    targets = assign_people(nowhere, K, (6, 6), 14)
    assert len(targets.cells) == 0 and targets.score_map.sum() == 0 and targets.offset.shape == (0, 2)


def test_depth_of_the_head_or_of_the_pelvis() -> None:
    truth = standing([(30.0, 30.0)], [3.0])
    for joint, z in (("head", 3.0), ("pelvis", 3.1)):
        targets = assign_people(truth, K, (6, 6), 14, TargetConfig(depth_joint=joint))
        expected = encode_depth(torch.tensor([z]), K[:, 0, 0], (84, 84))
        torch.testing.assert_close(targets.encoded_depth, expected)


def test_optional_labels_travel_along() -> None:
    truth = replace(made_truth(TinyBody()), posed=torch.tensor([True, False, True, False]))
    targets = assign_people(truth, made_cameras(2), (6, 6), 14).to("cpu")
    assert targets.truth.posed is not None and targets.truth.rotmat is not None
    assert targets.truth.posed.tolist() == [i % 2 == 0 for i in targets.kept.tolist()]
    torch.testing.assert_close(targets.truth.rotmat, truth.rotmat[targets.kept])
    bare = standing([(30.0, 30.0)], [3.0])
    assert assign_people(bare, K, (6, 6), 14).truth.vertices is None


def test_vertices_from_rotations_and_shape() -> None:
    body = TinyBody()
    truth = made_truth(body)
    again = with_vertices(replace(truth, vertices=None), body)
    torch.testing.assert_close(again.vertices, truth.vertices)
    with pytest.raises(ValueError, match="vertices need rotations and shape"):
        with_vertices(standing([(30.0, 30.0)], [3.0]), body)


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ConfigError, match="depth_joint must be head or pelvis; got 'neck'"):
        TargetConfig(depth_joint="neck")  # type: ignore[arg-type]
