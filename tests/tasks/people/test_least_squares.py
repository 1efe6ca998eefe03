"""The closed-form start against scikit-learn's ridge regression, and where there is nothing to fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import ENCODER, open_people
from torch import Tensor

from codistill.bodies.tiny import TinyBody
from codistill.geometry.rotations import rotation_from_6d, rotation_to_6d
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.place import place_bodies
from codistill.heads.human_mesh.targets import TargetConfig, assign_people
from codistill.heads.human_mesh.window import window_tokens
from codistill.metrics.human_mesh import aligned_point_error
from codistill.tasks.people import least_squares
from codistill.tasks.people.least_squares import PENALTIES, start_by_least_squares
from codistill.tasks.people.loading import ViewPlan
from codistill.tasks.people.sample import Skeleton
from codistill.tasks.people.tokens import StoredTokens, store_tokens
from codistill.tasks.shared.data import Subset
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures

SIZE, PATCH, WINDOW = 56, 14, (1, 1, 1)
BODY = TinyBody()


@pytest.fixture(scope="module")
def plan(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewPlan:
    data = open_people(f"folder:{scenes}", "train")
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=False))
    folder = tmp_path_factory.mktemp("tokens")
    cpu = torch.device("cpu")
    options = {"about": "", "mirror": True, "device": cpu, "workers": 0}
    stored = StoredTokens.opened(store_tokens(data.samples, features, SIZE, folder, **options))
    skeleton = Skeleton.of(data.body)
    return ViewPlan(data.samples, skeleton, SIZE, PATCH, True, TargetConfig(), 0, stored)


def head_of(plan: ViewPlan) -> HumanMeshHead:
    assert plan.stored is not None
    torch.manual_seed(0)
    width = plan.stored.values.shape[-1]
    return HumanMeshHead.for_body(
        TinyBody(), encoder_dim=width, patch_size=PATCH, table_size=4, dim=16, window=WINDOW
    )


def people(plan: ViewPlan, head: HumanMeshHead, images: list[int], flip: bool) -> tuple[Tensor, Tensor]:
    """Window values and what they should give, image by image."""
    assert plan.stored is not None
    inputs, wanted = [], []
    for image in images:
        one = plan.stored.labels[image]
        one = one.mirrored(plan.skeleton) if flip else one
        targets = assign_people(one.truth, one.intrinsics[None], (4, 4), PATCH, plan.targets)
        patches = torch.from_numpy(np.array(plan.stored.values[image : image + 1, int(flip)])).float()
        inputs.append(window_tokens(patches, (4, 4), targets.cells, WINDOW))
        truth = targets.truth
        assert truth.rotmat is not None and truth.shape is not None
        wanted.append(torch.cat((rotation_to_6d(truth.rotmat).flatten(1) - head.init_pose, truth.shape), 1))
    return torch.cat(inputs), torch.cat(wanted)


@pytest.mark.parametrize("penalties", [PENALTIES, (0.001, 0.01)])
def test_it_is_ridge_regression_of_all_people_with_the_best_penalty(
    plan: ViewPlan, penalties: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    larger = tuple(penalties[-1] * step for step in (3, 10, 30, 100))
    monkeypatch.setattr(least_squares, "PENALTIES", penalties)
    monkeypatch.setattr(least_squares, "LARGER", larger)
    head = head_of(plan)
    found = start_by_least_squares(head, plan, BODY)
    assert found is not None
    held = [i for i in range(len(plan.data)) if i % 10 == 9]
    fitted = [i for i in range(len(plan.data)) if i % 10 != 9]
    fit_x, fit_y = (
        torch.cat(p) for p in zip(*(people(plan, head, fitted, f) for f in (False, True)), strict=True)
    )
    held_x, held_y = (
        torch.cat(p) for p in zip(*(people(plan, head, held, f) for f in (False, True)), strict=True)
    )
    mean, scale = fit_x.mean(0), fit_x.std(0, correction=0).clamp(min=1e-3)
    fit_x, held_x = (fit_x - mean) / scale, (held_x - mean) / scale

    def ridge(x: Tensor, y: Tensor, penalty: float):
        return linear_model.Ridge(alpha=penalty * len(x)).fit(x.double().numpy(), y.double().numpy())

    def errors(outputs: np.ndarray | Tensor) -> float:
        found, true = (
            place_bodies(
                BODY,
                rotation_from_6d((y[:, : 6 * BODY.n_rot] + head.init_pose).unflatten(1, (-1, 6))),
                y[:, 6 * BODY.n_rot :],
                pelvis=torch.zeros(len(y), 3),
            ).vertices
            for y in (torch.as_tensor(outputs).float(), held_y)
        )
        return float(aligned_point_error(found, true).mean())

    candidates = (*penalties, *larger)
    of_penalties = [errors(ridge(fit_x, fit_y, p).predict(held_x.double())) for p in candidates]
    if (first := int(np.argmin(of_penalties[: len(penalties)]))) == len(penalties) - 1:
        while first + 1 < len(candidates) and of_penalties[first + 1] < of_penalties[first]:
            first += 1
    best = candidates[first]
    assert found.penalty == best
    assert (best > penalties[-1]) == (penalties != PENALTIES)
    assert found.people == len(fit_x) + len(held_x)
    assert found.error == pytest.approx(of_penalties[first], rel=1e-3)
    assert found.mean_error == pytest.approx(errors(fit_y.mean(0).expand_as(held_y)), rel=1e-3)
    both_x, both_y = torch.cat((fit_x, held_x)), torch.cat((fit_y, held_y))
    expected = ridge(both_x, both_y, best).predict(both_x.double())
    raw_x = both_x * scale + mean
    torch.testing.assert_close(
        head.around.linear(raw_x).double(), torch.from_numpy(expected), atol=2e-3, rtol=0
    )


def test_without_parameters_nothing_is_changed(plan: ViewPlan) -> None:
    head = head_of(plan)
    assert plan.stored is not None
    bare = tuple(
        replace(one, truth=replace(one.truth, rotmat=None, shape=None)) for one in plan.stored.labels
    )
    assert start_by_least_squares(head, replace(plan, stored=replace(plan.stored, labels=bare)), BODY) is None
    assert not head.around.linear.weight.any()


def test_of_wide_tokens_the_first_components_are_read(
    plan: ViewPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    monkeypatch.setattr(least_squares, "VALUES", 5 * 9 + 8)
    head = head_of(plan)
    found = start_by_least_squares(head, plan, BODY)
    assert found is not None
    width = head.config.encoder_dim
    parts = [people(plan, head, [i for i in range(len(plan.data)) if i % 10 != 9], f) for f in (False, True)]
    parts += [people(plan, head, [i for i in range(len(plan.data)) if i % 10 == 9], f) for f in (False, True)]
    x, y = (torch.cat(part).double() for part in zip(*parts, strict=True))
    fitted = len(parts[0][0]) + len(parts[1][0])
    _, _, right = np.linalg.svd(x[:fitted].reshape(-1, width).numpy(), full_matrices=False)
    read = (x.reshape(len(x), -1, width).numpy() @ right[:5].T).reshape(len(x), -1)
    read = (read - read[:fitted].mean(0)) / np.maximum(read[:fitted].std(0), 1e-3)
    expected = linear_model.Ridge(alpha=found.penalty * len(x)).fit(read, y.numpy()).predict(read)
    torch.testing.assert_close(
        head.around.linear(x.float()).double(), torch.from_numpy(expected), atol=2e-3, rtol=0
    )


def test_a_few_images_are_all_fitted(plan: ViewPlan) -> None:
    assert plan.stored is not None
    few = Subset(plan.data, tuple(range(4)))
    stored = replace(plan.stored, values=plan.stored.values[:4], labels=plan.stored.labels[:4])
    found = start_by_least_squares(head_of(plan), replace(plan, data=few, stored=stored), BODY)
    assert found is not None
    assert found.penalty == max(PENALTIES)
    assert np.isnan(found.error)
    assert found.people == 2 * sum(len(one.truth) for one in stored.labels)
