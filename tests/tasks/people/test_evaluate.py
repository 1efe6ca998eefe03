"""Scores by hand, a perfect and a shifted estimator, the mean body against scipy's mean rotation."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from people_scenes import open_people, scored

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, DataError
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_vector
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.people.baseline import MeanBody, nearest_rotation
from codistill.tasks.people.model import Bodies, PeopleSearch
from codistill.tasks.people.sample import Skeleton, join_truths, make_truth, nobody
from codistill.tasks.people.scores import COLUMNS, ERRORS, by_group
from codistill.tasks.people.scoring import PeopleTest
from codistill.tasks.shared.groups import alone
from codistill.tasks.shared.score_table import ScoreTable


@dataclass
class Oracle:
    """Says what the labels say, moved by `shift` metres, but of roots turned by `turn` degrees.

    Leaves out everybody but the first `most`.
    """

    data: object
    shift: float = 0.0
    most: int = 99
    ghost: bool = False
    turn: float = 0.0

    body = TinyBody()
    size = 56
    features = SimpleNamespace(patch_size=14)

    def __call__(self, image, intrinsics):
        sample = next(s for s in self.data.samples if np.array_equal(s.image, image))
        truth = sample.truth.at(torch.arange(min(self.most, len(sample.truth))))
        placed = place_bodies(self.body, truth.rotmat, truth.shape, pelvis=truth.pelvis)
        move = torch.tensor([self.shift, 0.0, 0.0])
        vertices, joints = placed.vertices + move, placed.joints + move
        if self.ghost:  # somebody else, far beside
            vertices = torch.cat((vertices, vertices[:1] + 9.0))
            joints = torch.cat((joints, joints[:1] + 9.0))
        count = len(joints)
        pixels = project(joints, intrinsics.expand(count, 3, 3))
        rotmat, shape = torch.eye(3).repeat(count, 5, 1, 1), torch.zeros(count, 2)
        rotmat[: len(truth), 0] = (
            rotation_from_vector(torch.tensor([0.0, math.radians(self.turn), 0.0])) @ truth.rotmat[:, 0]
        )
        head, pelvis = joints[:, self.body.head_idx], joints[:, 0]
        return Bodies(
            torch.ones(count), vertices, joints, pixels, rotmat, shape, torch.zeros(count, 0), head, pelvis
        )


@pytest.fixture(scope="module")
def data(scenes: Path):
    found = open_people(f"folder:{scenes}", "val")
    samples = [found.samples[i] for i in range(len(found.samples))]
    return replace(found, samples=samples)


def test_a_perfect_estimator_has_perfect_scores(data) -> None:
    result = scored(Oracle(data), data, pictures=2)
    intervals = result.scores
    assert all(intervals[name].mean == 100.0 for name in ("f1", "precision", "recall"))
    for name in ERRORS:
        assert intervals[name].mean == pytest.approx(0.0, abs=1e-2), name
    assert len(result.pictures) == 2 and all(p.shape == (42, 56, 3) for row in result.pictures for p in row)
    assert np.array_equal(result.pictures[0][1], result.pictures[0][2])  # truth and prediction drawn alike


@pytest.mark.parametrize(("turn", "right"), [(25.0, 100.0), (-29.0, 100.0), (31.0, 0.0), (180.0, 0.0)])
def test_a_body_that_is_turned_counts_as_such(data, turn: float, right: float) -> None:
    intervals = scored(Oracle(data, turn=turn), data).scores
    assert intervals["root"].mean == pytest.approx(abs(turn), abs=0.05)
    assert intervals["root_30"].mean == right


def test_a_shift_is_seen_in_place_and_in_nothing_else(data) -> None:
    intervals = scored(Oracle(data, shift=0.2), data).scores
    assert intervals["place"].mean == pytest.approx(0.2, abs=1e-4)
    assert intervals["pve"].mean == pytest.approx(0.0, abs=1e-2)


def test_misses_and_ghosts_are_counted(data) -> None:
    found = scored(Oracle(data, most=1, ghost=True), data)
    # Images alternate between one and two people; one is found in each, and a ghost.
    assert found.table.values["counts"].tolist() == [[1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]]
    intervals = found.scores
    assert intervals["precision"].mean == pytest.approx(50.0)
    assert intervals["recall"].mean == pytest.approx(100 * 4 / 6)
    assert intervals["f1"].mean == pytest.approx(100 * 8 / 14)
    assert {found.summary.facts[name] for name in ("matches", "false_positives")} == {4}
    assert found.summary.facts["people"] == 6 and len(found.summary.lines) == 4
    groups = found.summary.facts["groups"]
    assert set(groups) == {"distance", "visible"}  # nobody's age is known
    assert groups["visible"]["half to 0.9"]["people"] == 4
    assert (
        groups["visible"]["half to 0.9"]["recall"]["mean"] + groups["visible"]["above 0.9"]["recall"]["mean"]
        == 100
    )


def test_joints_alone_can_be_evaluated(data) -> None:
    """Without parameters there are no surfaces; joint errors are over the labelled ones."""
    known = torch.tensor([[True, False, True, True, False]])
    samples = []
    for sample in data.samples:
        truth = make_truth(
            Skeleton.of(data.body), sample.truth.joints, joint_known=known.expand(len(sample.truth), -1)
        )
        samples.append(replace(sample, truth=truth))
    found = scored(Oracle(data), replace(data, samples=samples), pictures=1)
    assert set(found.scores) == {"f1", "precision", "recall", "mpjpe", "pa_mpjpe", "place"}
    assert set(by_group(found.table)["distance"]["2 to 4 m"]) == {"people", "recall", "pa_mpjpe"}
    assert found.scores["mpjpe"].mean == pytest.approx(0.0, abs=1e-2)


def test_of_people_without_rotations_nobody_knows_which_way_they_face(data) -> None:
    """Beside people with parameters in one image they have identities in place of rotations."""
    mixed = []
    for sample in data.samples:
        truth, posed = sample.truth, torch.arange(len(sample.truth)) > 0
        rotmat = torch.where(posed[:, None, None, None], truth.rotmat, torch.eye(3))
        mixed.append(replace(sample, truth=replace(truth, rotmat=rotmat, posed=posed)))
    root = scored(Oracle(data, turn=20.0), replace(data, samples=mixed)).scores["root"]
    assert root.mean == pytest.approx(20.0, abs=0.05)


def test_two_heads_are_scored_on_the_same_people(data) -> None:
    """Two people whose heads share a cell of a coarse grid count for every head, unless cells are asked for."""
    sample = data.samples[1]  # two people
    near = sample.truth.at(torch.tensor([0, 0]))
    crowd = replace(sample, truth=near, facts={})
    one = replace(data, samples=[crowd])
    coarse, fine = Oracle(one), Oracle(one)
    coarse.size, fine.size = 28, 448
    for estimator in (coarse, fine):
        assert scored(estimator, one).summary.facts["people"] == 2
        published = scored(estimator, one, cells=4).summary.facts
        assert published["people"] == 1 and "4x4 cells" in published["truth"]


@dataclass
class Broken(Oracle):
    """Its first person's joints are not finite, as after an overflow."""

    def __call__(self, image, intrinsics):
        found = super().__call__(image, intrinsics)
        joints_2d = found.joints_2d.clone()
        joints_2d[0, 2] = torch.nan
        return replace(found, joints_2d=joints_2d)


def test_a_prediction_that_is_not_finite_is_nobody(data) -> None:
    table = scored(Broken(data), data).table
    # One or two people an image; the first is never found, and what stands for it is wrong.
    assert table.values["counts"].tolist() == [[0, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]]
    assert np.isfinite(table.rows["pve"][table.rows["matched"] == 1]).all()


def test_a_label_joint_that_is_not_finite_is_not_known(data) -> None:
    samples = []
    for sample in data.samples:
        joints = sample.truth.joints.clone()
        joints[0, 3] = torch.nan  # of the first person alone: the others keep all theirs
        samples.append(replace(sample, truth=replace(sample.truth, joints=joints)))
    found = scored(Oracle(data), replace(data, samples=samples))
    assert found.table.values["counts"][:, 1:].sum() == 0
    assert found.scores["mpjpe"].mean == pytest.approx(0.0, abs=1e-2)


def made_table(errors: list[float]) -> ScoreTable:
    """One person an image, missed where the error is no number."""
    rows = {
        "sample": np.arange(len(errors)),
        "matched": np.isfinite(errors).astype(float),
        "distance": np.ones(len(errors)),
        **{name: np.array(errors, float) for name in ERRORS},
    }
    counts = np.array([[1, 0, 0] if np.isfinite(e) else [0, 1, 0] for e in errors])
    names = tuple(map(str, range(len(errors))))
    return ScoreTable(names=names, groups=alone(names), values={"counts": counts}, rows=rows)


def test_differences_are_paired_over_images() -> None:
    base = np.random.default_rng(0).normal(100, 40, 80)
    one, other = made_table(list(base + 5)), made_table(list(base))
    error = COLUMNS["pa_pve"].statistic
    paired = error.difference(one, other)
    assert (
        paired.mean == pytest.approx(5.0)
        and paired.low == pytest.approx(5.0)
        and paired.high == pytest.approx(5.0)
    )
    apart = [error.interval(table) for table in (one, other)]
    assert apart[0].low < apart[1].high  # unpaired, nothing is seen
    assert COLUMNS["f1"].statistic.difference(one, other).mean == 0.0


def test_scores_that_nobody_has_are_left_out() -> None:
    missed = made_table([np.nan, np.nan])
    found = {name: column.statistic.interval(missed) for name, column in COLUMNS.items()}
    assert {name for name, interval in found.items() if interval is not None} == {"f1", "recall"}


def test_nearest_rotation_is_scipys_mean() -> None:
    transform = pytest.importorskip("scipy.spatial.transform")
    vectors = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = nearest_rotation(rotation_from_vector(vectors).mean(0))
    expected = transform.Rotation.from_rotvec(vectors.numpy()).mean().as_matrix()
    torch.testing.assert_close(mean, torch.from_numpy(expected), atol=1e-8, rtol=0)
    flipped = torch.diag(torch.tensor([1.0, 1.0, -0.2]))
    assert torch.linalg.det(nearest_rotation(flipped)) == pytest.approx(1.0)


def test_a_mean_body_needs_parameters(data) -> None:
    skeleton = Skeleton.of(TinyBody())
    with pytest.raises(DataError, match="nobody has them"):
        MeanBody.of([nobody(skeleton), make_truth(skeleton, torch.rand(1, 5, 3))])
    mean = MeanBody.of((s.truth for s in data.samples), shape_limit=0.5)
    assert mean.rotmat.shape == (5, 3, 3) and mean.shape.abs().max() <= 0.5


def test_a_mean_body_is_that_of_people_with_parameters(data) -> None:
    truths = [sample.truth for sample in data.samples]
    skeleton = Skeleton.of(TinyBody())
    joints_alone = make_truth(skeleton, torch.rand(3, len(skeleton.joint_names), 3))
    mean, among = MeanBody.of(truths), MeanBody.of([join_truths([*truths, joints_alone])])
    torch.testing.assert_close(among.rotmat, mean.rotmat)
    torch.testing.assert_close(among.shape, mean.shape)


def test_thresholds_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1; got 0"):
        PeopleSearch(threshold=0.0)
    with pytest.raises(ConfigError, match="odd number of cells"):
        PeopleSearch(kernel=2)
    with pytest.raises(ConfigError, match="cells must be 1 or more; got 0"):
        PeopleTest(cells=0)
