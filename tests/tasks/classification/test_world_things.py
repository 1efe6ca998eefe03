"""Things of a world for classifiers: the same data, heads and scores as from the folder that `world things` makes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from task_toys import ENCODER

from codistill.errors import DataError
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.config import KnnFit, LinearFit
from codistill.tasks.classification.data import LAYOUTS
from codistill.tasks.classification.task import KNN, LINEAR
from codistill.tasks.evaluation import Evaluation, compare, evaluate, write_evaluation
from codistill.tasks.opening import fit_task, open_data, open_split, scored_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject, Task
from codistill.weights.read import read_checkpoint
from codistill.world.crops import write_things
from codistill.world.dataset import World
from drawn_worlds import drawn_world, random_boxes

VECTORS = ImageVectors(kind="cls+mean", resize=56, crop=56)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODISTILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {"train": random_boxes(0, 10), "val": random_boxes(1, 3), "test": random_boxes(2, 6)}
    return drawn_world(tmp_path_factory.mktemp("world"), splits)


@pytest.fixture(scope="module")
def things(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "things"
    write_things(World(world), folder)
    return folder


def test_classes_labels_groups_and_names_are_those_of_the_folder(world: Path, things: Path) -> None:
    for split in ("train", "val", "test"):
        one, other = (open_split(LAYOUTS, spec, split) for spec in (f"world:{world}", f"folder:{things}"))
        assert one.classes == other.classes == ("ball", "chair", "table")
        assert one.labels().tolist() == other.labels().tolist()
        assert [image.name for image in one.images()] == [image.name for image in other.images()]
        assert one.samples.groups.names == other.samples.groups.names
        assert one.samples.groups.count == len(one.samples) // 3  # a scene's three things are one group
    copy = pickle.loads(pickle.dumps(one.samples))
    np.testing.assert_array_equal(copy[4].read(), other.samples[4].read())


def test_the_test_split_is_scored_unless_another_is_named() -> None:
    assert scored_split(KNN, "world:w") == ("test", "the data's own")
    assert scored_split(KNN, "folder:w")[0] == "val"


def scored(task: Task, spec: str, out: Path) -> Evaluation:
    common = {"data": spec, "features": FeatureConfig(encoder=ENCODER), "vectors": VECTORS}
    config = KnnFit(**common, neighbours=(1, 5)) if task is KNN else LinearFit(**common)
    runtime = Runtime(out=out, workers=0, console=Console(quiet=True))
    fit_task(task, config, runtime)
    data, test = open_data(task, spec, "test"), task.test()
    return evaluate(
        task, task.score(task.load(Subject(head=out), test, data), data, test, runtime), data, test
    )


@pytest.mark.parametrize("task", [KNN, LINEAR])
def test_heads_and_scores_are_those_of_the_folder(task: Task, world: Path, things: Path, tmp_path: Path):
    one, other = (
        scored(task, f"world:{world}", tmp_path / "w"),
        scored(task, f"folder:{things}", tmp_path / "f"),
    )
    assert one.scores == other.scores  # intervals as well: the same scenes are resampled
    assert all(interval.groups == 6 and interval.count == 18 for interval in one.scores.values())
    for name, values in one.table.values.items():
        np.testing.assert_array_equal(values, other.table.values[name])
    heads = [read_checkpoint(tmp_path / way / "head.safetensors") for way in ("w", "f")]
    assert all(heads[0][name].equal(tensor) for name, tensor in heads[1].items())
    data = open_data(task, f"world:{world}", "test")
    write_evaluation(tmp_path / "e", task, one, data, task.test(), {}, [])
    assert compare(task, other, tmp_path / "e")["difference"]["mean"] == 0


def test_vectors_are_made_again_where_the_world_has_changed(world: Path, tmp_path: Path) -> None:
    root = drawn_world(tmp_path / "w", {"train": random_boxes(0, 10), "test": random_boxes(2, 6)})
    scored(KNN, f"world:{root}", tmp_path / "head")
    before = np.load(tmp_path / "head/bank/features.npy")
    drawn_world(tmp_path / "w", {"train": random_boxes(5, 10)})
    again, fresh = (scored(KNN, f"world:{root}", tmp_path / name) for name in ("head", "fresh"))
    assert again.scores == fresh.scores
    now, wanted = (np.load(tmp_path / name / "bank/features.npy") for name in ("head", "fresh"))
    np.testing.assert_array_equal(now, wanted)
    assert not np.allclose(now, before, atol=1e-3)


def test_worlds_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    def opened(splits, split="val"):
        root = drawn_world(tmp_path / str(len(list(tmp_path.iterdir()))), splits)
        return open_split(LAYOUTS, f"world:{root}", split)

    train = random_boxes(0, 2)
    with pytest.raises(DataError, match=r"val has things that train lacks \(table\)\. Build a larger world"):
        opened({"train": [[("ball", 0, 0, 30), ("chair", 50, 50, 30)]], "val": random_boxes(1, 1)})
    with pytest.raises(DataError, match="no thing of val has 24 pixels a side"):
        opened({"train": train, "val": [[("ball", 0, 0, 20)]]})
    with pytest.raises(DataError, match="no thing of train has 24 pixels a side"):
        opened({"train": [[("ball", 0, 0, 20)]], "val": train})
    with pytest.raises(DataError, match="one category"):
        opened({"train": [[("ball", 0, 0, 30)]], "val": [[("ball", 0, 0, 30)]]})
    with pytest.raises(DataError, match="objects/val"):
        opened({"train": train})
    with pytest.raises(DataError, match="Did you mean"):
        opened({"train": train}, "vall")
    other = drawn_world(tmp_path / "rooms", {"train": train})
    plan = (other / "world.json").read_text()
    (other / "world.json").write_text(plan.replace('"objects"]', '"rooms"]'))
    with pytest.raises(DataError, match=r"has no objects \(it has rooms\)\. Add them"):
        open_split(LAYOUTS, f"world:{other}", "val")
    with pytest.raises(DataError, match=r"no world here"):
        open_split(LAYOUTS, f"world:{tmp_path / 'none'}", "val")
