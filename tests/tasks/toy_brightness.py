"""A task of another package, as small as one can be: the mean brightness of an image from its mean feature.

`grey:ROOT` holds ROOT/SPLIT/*.png. A linear map is fitted step by step; its state is kept after every one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codistill.engine.distributed import Process
from codistill.errors import ConfigError
from codistill.files.config import CHANGEABLE
from codistill.files.plain import to_plain
from codistill.imaging import read_rgb
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, read_record, write_head
from codistill.tasks.shared.loading import normalized
from codistill.tasks.shared.same_encoder import check_features, told_of
from codistill.tasks.shared.statistics import MeanOf
from codistill.tasks.task import Column, ImageFile, Outcome, Predicted, Prediction, Subject, Task


@dataclass(frozen=True, kw_only=True)
class View:
    """How an image is seen.

    Attributes:
        crop: side of the square in its corner.
    """

    crop: int = 56


@dataclass(frozen=True, kw_only=True)
class BrightnessFit(HeadFit):
    """How it is fitted.

    Attributes:
        view: of the images.
        steps: of gradient descent.
        rate: of learning.
        stop_after: this many steps; the same call resumes.
    """

    view: View = field(default_factory=View)
    steps: int = 4
    rate: float = 0.1
    stop_after: int | None = field(default=None, metadata=CHANGEABLE)


@dataclass(frozen=True, kw_only=True)
class BrightnessTest:
    """How it is scored.

    Attributes:
        percent: of the scale from 0 to 255, not of 1.
    """

    percent: bool = False


@dataclass(frozen=True)
class Photos:
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray]:
        return self.paths[index].name, read_rgb(self.paths[index])

    def inputs_of(self, index: int) -> tuple[Path]:
        return (self.paths[index],)


def opened(where: Where) -> TaskData:
    paths = tuple(sorted((where.root / where.split).glob("*.png")))
    return TaskData(spec=where.spec, split=where.split, samples=Photos(paths))


def brightness(image: np.ndarray) -> float:
    return float(image.mean()) / 255


def seen(features: FrozenFeatures, image: np.ndarray, crop: int) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image[:crop, :crop]))[None]
    return features(normalized(pixels))[-1].patches.mean(1)


def fit(data: TaskData, config: BrightnessFit, runtime: Runtime, process: Process) -> bool:
    features = FrozenFeatures(config.features)
    images = [data.samples[index][1] for index in range(len(data.samples))]
    vectors = torch.cat([seen(features, image, config.view.crop) for image in images])
    truth = torch.tensor([brightness(image) for image in images])
    state = runtime.out / "state.safetensors"
    runtime.out.mkdir(parents=True, exist_ok=True)
    zero = {"weight": torch.zeros(vectors.shape[1]), "step": torch.zeros(())}
    loaded = load_file(state) if state.exists() else zero
    now = {
        name: tensor.clone() for name, tensor in loaded.items()
    }  # aligned, or sums differ in their last bits
    for step in range(int(now["step"]), config.steps):
        if step == config.stop_after:
            return False
        error = vectors @ now["weight"] - truth
        weight = now["weight"] - config.rate * vectors.T @ error / len(truth)
        now = {"weight": weight, "step": torch.tensor(step + 1.0)}
        save_file(now, state)
    record = HeadRecord(
        task="brightness",
        features=config.features,
        data=HeadData(spec=config.data, samples=len(images)),
        test=to_plain(config.view),
        encoder=told_of(features),
        fit={"steps": config.steps},
    )
    write_head(runtime.out, record, {"weight": now["weight"]}, list(runtime.command))
    return True


@dataclass
class Guess:
    features: FrozenFeatures
    weight: Tensor
    crop: int

    def __call__(self, image: np.ndarray) -> float:
        return float(seen(self.features, image, self.crop) @ self.weight)

    def to(self, device: Any) -> "Guess":
        return self

    def describe(self) -> dict[str, Any]:
        return {"encoder": self.features.describe()}


def load(subject: Subject, test: BrightnessTest, data: TaskData | None) -> Guess:
    if subject.head is None:
        raise ConfigError("which head? add --head HEAD")
    record = read_record(subject.head, "brightness")
    features = FrozenFeatures(subject.features or record.features)
    check_features(subject.head, record, features, subject.other_encoder)
    return Guess(
        features, load_file(subject.head / "head.safetensors")["weight"], record.own("test", View).crop
    )


def score(model: Guess, data: TaskData, test: BrightnessTest, runtime: Runtime) -> Iterator[Outcome]:
    for index in range(len(data.samples)):
        name, image = data.samples[index]
        error = abs(model(image) - brightness(image))
        yield Outcome(name, {"error": error * (100 if test.percent else 1)})


def predict(
    model: Guess, pixels: np.ndarray, image: ImageFile, options: BrightnessTest, out: Path
) -> Predicted:
    file = image.within(out, ".txt")
    file.write_text(f"{model(pixels)}\n")
    return Predicted(f"{model(pixels):.2f}", [file])


TASK = Task(
    name="brightness",
    about="mean brightness of an image",
    layouts={"grey": Layout(opened, "SPLIT/*.png")},
    config=BrightnessFit,
    recipes={"plain": BrightnessFit()},
    fit=fit,
    load=load,
    test=BrightnessTest,
    score=score,
    columns={"error": Column(title="error", statistic=MeanOf("error"))},
    unit="of 1",
    shown=(),
    predict=Prediction(options=BrightnessTest, run=predict, writes="DIR/NAME.brightness.txt"),
)
