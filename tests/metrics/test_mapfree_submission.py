"""Map-free files and scoring: the recorded run of the benchmark, round trips, and every rule about bad input."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from codistill.errors import DataError
from codistill.metrics.mapfree_submission import (
    SubmittedPose,
    evaluated_frames,
    read_intrinsics,
    read_poses,
    score_submission,
    write_submission,
)
from shared_files import golden


def make_scene(
    root: Path, name: str, frames: range, *, reference: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """Write a scene of random poses; return them by frame name."""
    draw = np.random.default_rng(seed)
    names = (["seq0/frame_00000.jpg"] if reference else []) + [f"seq1/frame_{i:05d}.jpg" for i in frames]
    turns = np.roll(Rotation.random(len(names), random_state=seed).as_quat(), 1, axis=1)
    poses = np.concatenate((turns, draw.normal(size=(len(names), 3))), axis=1)
    if reference:
        poses[0] = [1, 0, 0, 0, 0, 0, 0]
    (root / name).mkdir(parents=True)
    lines = [" ".join([n, *map(repr, map(float, pose))]) for n, pose in zip(names, poses, strict=True)]
    (root / name / "poses.txt").write_text("\n".join(lines) + "\n")
    (root / name / "intrinsics.txt").write_text("".join(f"{n} 590 590 270 360 540 720\n" for n in names))
    return dict(zip(names, poses, strict=True))


def as_submitted(poses: dict[str, np.ndarray], confidence: float = 1.0) -> list[SubmittedPose]:
    return [SubmittedPose(n, tuple(p[:4]), tuple(p[4:]), confidence) for n, p in poses.items()]


def test_recorded_run_of_the_benchmark() -> None:
    recorded = golden("mapfree_mini")
    expected = json.loads((recorded / "expected.json").read_text())
    found = score_submission(recorded / "val", recorded / "submission.zip")
    for key, numbers in expected.items():
        threshold = float(key.removeprefix("vcre_threshold_").removesuffix("px"))
        published = found.scores.as_published(threshold)
        assert published.keys() == numbers.keys()
        for name, value in numbers.items():
            assert published[name] == pytest.approx(value, rel=1e-12), name
    assert sum("ignored" in text for text in found.warnings) == 4
    assert any("s99999 is not in the data set" in text for text in found.warnings)
    assert any("pose_s00462.txt is missing" in text for text in found.warnings)


def test_true_poses_score_perfectly(tmp_path: Path) -> None:
    scenes = {
        name: make_scene(tmp_path / "val", name, range(23), seed=i)
        for i, name in enumerate(("s00460", "s00461"))
    }
    write_submission(tmp_path / "out.zip", {name: as_submitted(poses) for name, poses in scenes.items()})
    found = score_submission(tmp_path / "val", tmp_path / "out.zip")
    scores = found.scores
    assert not found.warnings
    assert scores.frames == 10 and scores.estimated == 1.0
    assert scores.pose_precision == scores.pose_auc == 1.0
    assert scores.vcre_precision == scores.vcre_auc == {90.0: 1.0, 45.0: 1.0}
    assert max(scores.median_translation, scores.median_rotation, scores.median_vcre) < 1e-5


def test_an_unpacked_submission_scores_the_same(tmp_path: Path) -> None:
    poses = make_scene(tmp_path / "val", "s00460", range(20))
    noisy = {name: pose + 0.05 for name, pose in poses.items()}
    write_submission(tmp_path / "out.zip", {"s00460": as_submitted(noisy)})
    zipfile.ZipFile(tmp_path / "out.zip").extractall(tmp_path / "out")
    first, second = (
        score_submission(tmp_path / "val", tmp_path / name).scores for name in ("out.zip", "out")
    )
    assert first == second and first.median_translation > 0


def test_a_missing_frame_is_one_failure_and_a_missing_scene_counts_all_its_frames(tmp_path: Path) -> None:
    scenes = {name: make_scene(tmp_path / "val", name, range(20)) for name in ("s00460", "s00461")}
    first = as_submitted(scenes["s00460"])
    kept = [pose for pose in first if pose.name != "seq1/frame_00005.jpg"]
    write_submission(tmp_path / "out.zip", {"s00460": kept})
    found = score_submission(tmp_path / "val", tmp_path / "out.zip")
    assert [scene.failures for scene in found.scenes] == [1, 20]
    write_submission(tmp_path / "empty.zip", {"s00460": kept, "s00461": []})
    found = score_submission(tmp_path / "val", tmp_path / "empty.zip")
    assert [scene.failures for scene in found.scenes] == [1, 4]


def test_frames_are_known_by_number_and_evaluated_by_place(tmp_path: Path) -> None:
    make_scene(tmp_path, "with", range(12))
    make_scene(tmp_path, "without", range(1, 12))
    make_scene(tmp_path, "gaps", range(0, 36, 3), reference=False)

    def evaluated(scene: str) -> list[int]:
        lines = (tmp_path / scene / "poses.txt").read_text().splitlines()
        return evaluated_frames(read_poses(lines, scene, with_confidence=False)[0])

    assert evaluated("with") == [0, 5, 10]  # seq1/frame_00000 took the reference's place
    assert evaluated("without") == [0, 5, 10]  # the reference itself, then seq1 frames 5 and 10
    assert evaluated("gaps") == [0, 15, 30]


def test_the_later_line_of_a_number_wins_but_keeps_the_first_place() -> None:
    lines = [
        "seq0/frame_00000.jpg 1 0 0 0 0 0 0",
        "seq1/frame_00003.jpg 1 0 0 0 3 0 0",
        "seq1/frame_00000.jpg 1 0 0 0 9 0 0",
    ]
    poses, _ = read_poses(lines, "x", with_confidence=False)
    assert list(poses) == [0, 3] and poses[0][4] == 9


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("seq1/frame_00003.jpg 1 2 3", "3 numbers instead of 8"),
        ("seq1/frame_00003.jpg 1 0 0 0  0 0 0 1", "not a frame name followed by numbers"),
        ("seq1/frame_00003.jpg nan 0 0 0 0 0 0 1", "not finite"),
        ("seq1/frame_00003.jpg 0 0 0 0 1 1 1 1", "norm 0"),
        ("frame.jpg 1 0 0 0 0 0 0 1", "not a frame name"),
        ("seq1/frame_00003.jpg 1 0 0 0 0 0 zero 1", "not a frame name followed by numbers"),
    ],
)
def test_bad_lines_are_ignored_and_say_why(line: str, reason: str) -> None:
    poses, warnings = read_poses([line], "pose_s1.txt", with_confidence=True)
    assert not poses
    assert len(warnings) == 1 and reason in warnings[0] and "pose_s1.txt, line 1" in warnings[0]


def test_comments_are_skipped_and_negative_confidence_is_refused() -> None:
    assert read_poses(["# seq1/frame_00003.jpg", ""], "x", with_confidence=True) == ({}, [])
    with pytest.raises(DataError, match=r"pose_s1.txt, line 1: confidence -1 is negative"):
        read_poses(["seq1/frame_00003.jpg 1 0 0 0 0 0 0 -1"], "pose_s1.txt", with_confidence=True)


def test_withheld_truth_is_no_warning(tmp_path: Path) -> None:
    folder = tmp_path / "test" / "s00525"
    folder.mkdir(parents=True)
    (folder / "poses.txt").write_text("seq1/frame_00000.jpg 0 0 0 0 0 0 0\n")
    (folder / "intrinsics.txt").write_text("seq1/frame_00000.jpg 590 590 270 360 540 720\n")
    write_submission(tmp_path / "out.zip", {"s00525": [], "s00526": []})
    with pytest.raises(DataError, match="the poses of all queries are withheld"):
        score_submission(tmp_path / "test", tmp_path / "out.zip")
    make_scene(tmp_path / "test", "s00526", range(5))
    found = score_submission(tmp_path / "test", tmp_path / "out.zip")
    assert found.scores.frames == 1 and not found.warnings


def test_intrinsics_take_the_size_of_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "intrinsics.txt"
    path.write_text("# comment\nseq0/frame_00000.jpg 1 2 3 4 10 20\nseq1/frame_00007.jpg 5 6 7 8 30 40\n")
    found = read_intrinsics(path)
    assert found.size == (30, 40) and list(found.matrices) == [0, 7]
    np.testing.assert_array_equal(found.matrices[7], [[5, 0, 7], [0, 6, 8], [0, 0, 1]])
    path.write_text("seq0/frame_00000.jpg 1 2 3\n")
    with pytest.raises(DataError, match=r"line 1: expected `frame fx fy cx cy width height`"):
        read_intrinsics(path)


def test_what_cannot_be_scored_says_what_was_expected(tmp_path: Path) -> None:
    make_scene(tmp_path / "val", "s00460", range(6))
    with pytest.raises(DataError, match=r"holds no scene .*e\.g\. ROOT/val"):
        score_submission(tmp_path, tmp_path / "out.zip")
    (tmp_path / "out.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="cannot be read as a submission"):
        score_submission(tmp_path / "val", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("results/pose_s00460.txt", "")
    with pytest.raises(DataError, match="not the folder around them"):
        score_submission(tmp_path / "val", tmp_path / "nested.zip")
    bad = SubmittedPose("seq1/frame_00000.jpg", (0, 0, 0, 0), (0, 0, 0), 1.0)
    with pytest.raises(DataError, match="Leave the frame out"):
        write_submission(tmp_path / "bad.zip", {"s00460": [bad]})
