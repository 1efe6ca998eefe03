"""Scores by hand, a perfect and a shifted estimator, the mean body against scipy's mean rotation."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, DataError
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_vector
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.people.baseline import MeanBody, nearest_rotation
from codistill.tasks.people.data import open_people
from codistill.tasks.people.evaluate import evaluate_people
from codistill.tasks.people.predict import Bodies, PeopleTest
from codistill.tasks.people.sample import Skeleton, make_truth, nobody
from codistill.tasks.people.scores import ERRORS, PeopleScores, difference
from codistill.tasks.shared.groups import alone


@dataclass
class Oracle:
    """Says what the labels say, moved by `shift` metres; leaves out everybody but the first `most`."""

    data: object
    shift: float = 0.0
    most: int = 99
    ghost: bool = False

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
        rotmat, shape = torch.eye(3).expand(count, 5, 3, 3), torch.zeros(count, 2)
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
    result = evaluate_people(Oracle(data), data, pictures=2)
    intervals = result.scores.intervals()
    assert all(intervals[name].mean == 100.0 for name in ("f1", "precision", "recall"))
    for name in ERRORS:
        assert intervals[name].mean == pytest.approx(0.0, abs=1e-2), name
    assert len(result.pictures) == 2 and all(p.shape == (42, 56, 3) for row in result.pictures for p in row)
    assert np.array_equal(result.pictures[0][1], result.pictures[0][2])  # truth and prediction drawn alike


def test_a_shift_is_seen_in_place_and_in_nothing_else(data) -> None:
    intervals = evaluate_people(Oracle(data, shift=0.2), data, pictures=0).scores.intervals()
    assert intervals["place"].mean == pytest.approx(0.2, abs=1e-4)
    assert intervals["pve"].mean == pytest.approx(0.0, abs=1e-2)


def test_misses_and_ghosts_are_counted(data) -> None:
    scores = evaluate_people(Oracle(data, most=1, ghost=True), data, pictures=0).scores
    # Images alternate between one and two people; one is found in each, and a ghost.
    assert scores.counts.tolist() == [[1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]]
    intervals = scores.intervals()
    assert intervals["precision"].mean == pytest.approx(50.0)
    assert intervals["recall"].mean == pytest.approx(100 * 4 / 6)
    assert intervals["f1"].mean == pytest.approx(100 * 8 / 14)
    groups = scores.groups()
    assert set(groups) == {"distance", "visible"}  # nobody's age is known
    assert groups["visible"]["half to 0.9"]["people"] == 4
    assert (
        groups["visible"]["half to 0.9"]["recall"]["mean"] + groups["visible"]["above 0.9"]["recall"]["mean"]
        == 100
    )


def test_labels_of_another_body_are_refused(data) -> None:
    other = replace(data, body=SimpleNamespace(name="anny"))
    with pytest.raises(ConfigError, match=r"bodies of 'tiny', .* is labelled with 'anny'"):
        evaluate_people(Oracle(data), other, pictures=0)


def test_joints_alone_can_be_evaluated(data) -> None:
    """Without parameters there are no surfaces; joint errors are over the labelled ones."""
    known = torch.tensor([[True, False, True, True, False]])
    samples = []
    for sample in data.samples:
        truth = make_truth(
            Skeleton.of(data.body), sample.truth.joints, joint_known=known.expand(len(sample.truth), -1)
        )
        samples.append(replace(sample, truth=truth))
    scores = evaluate_people(Oracle(data), replace(data, samples=samples), pictures=1).scores
    assert set(scores.intervals()) == {"f1", "precision", "recall", "mpjpe", "pa_mpjpe", "place"}
    assert scores.intervals()["mpjpe"].mean == pytest.approx(0.0, abs=1e-2)


def test_two_heads_are_scored_on_the_same_people(data) -> None:
    """Two people whose heads share a cell of a coarse grid count for every head, unless cells are asked for."""
    sample = data.samples[1]  # two people
    near = sample.truth.at(torch.tensor([0, 0]))
    crowd = replace(sample, truth=near, facts={})
    one = replace(data, samples=[crowd])
    coarse, fine = Oracle(one), Oracle(one)
    coarse.size, fine.size = 28, 448
    for estimator in (coarse, fine):
        assert evaluate_people(estimator, one, pictures=0).scores.counts.sum(1).tolist() == [2]
        published = evaluate_people(estimator, one, cells=4, pictures=0).scores
        assert published.counts[0, :2].sum() == 1


@dataclass
class Broken(Oracle):
    """Its first person's joints are not finite, as after an overflow."""

    def __call__(self, image, intrinsics):
        found = super().__call__(image, intrinsics)
        joints_2d = found.joints_2d.clone()
        joints_2d[0, 2] = torch.nan
        return replace(found, joints_2d=joints_2d)


def test_a_prediction_that_is_not_finite_is_nobody(data) -> None:
    scores = evaluate_people(Broken(data), data, pictures=0).scores
    # One or two people an image; the first is never found, and what stands for it is wrong.
    assert scores.counts.tolist() == [[0, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]]
    assert np.isfinite(scores.people["pve"][scores.people["matched"] == 1]).all()


def test_a_label_joint_that_is_not_finite_is_not_known(data) -> None:
    samples = []
    for sample in data.samples:
        joints = sample.truth.joints.clone()
        joints[0, 3] = torch.nan  # of the first person alone: the others keep all theirs
        samples.append(replace(sample, truth=replace(sample.truth, joints=joints)))
    scores = evaluate_people(Oracle(data), replace(data, samples=samples), pictures=0).scores
    assert scores.counts[:, 1:].sum() == 0
    assert scores.intervals()["mpjpe"].mean == pytest.approx(0.0, abs=1e-2)


def made_scores(errors: list[float], misses: int = 0) -> PeopleScores:
    count = len(errors)
    people = {
        "image": np.arange(count),
        "matched": np.isfinite(errors).astype(float),
        "distance": np.ones(count),
        **{name: np.array(errors, float) for name in ERRORS},
    }
    counts = np.array([[1, 0, 0] if np.isfinite(e) else [0, 1, 0] for e in errors])
    names = tuple(map(str, range(count)))
    return PeopleScores(counts, people, names, alone(names))


def test_differences_are_paired_over_images() -> None:
    base = np.random.default_rng(0).normal(100, 40, 80)
    one, other = made_scores(list(base + 5)), made_scores(list(base))
    paired = difference(one, other, "pa_pve")
    assert (
        paired.mean == pytest.approx(5.0)
        and paired.low == pytest.approx(5.0)
        and paired.high == pytest.approx(5.0)
    )
    assert one.intervals()["pa_pve"].low < other.intervals()["pa_pve"].high  # unpaired, nothing is seen
    assert difference(one, other, "f1").mean == 0.0
    assert "pve" not in made_scores([np.nan, np.nan]).intervals()


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


def test_thresholds_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1; got 0"):
        PeopleTest(threshold=0.0)
    with pytest.raises(ConfigError, match="odd number of cells"):
        PeopleTest(kernel=2)
