"""Relational losses against double loops, their invariances, and one batch on one or two ranks."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.distill.losses import DistillationLoss, LossConfig
from codistill.distill.neighbours import Neighbours
from codistill.distill.relational import asymmetric_distances, cka_distance, gram_distance
from codistill.distill.terms import TERMS, TermContext
from codistill.engine.objective import StepContext
from codistill.errors import ConfigError
from codistill.types import Tokens

PATCH = TermContext(kind="patch")


def pair(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def rotation(dim: int) -> Tensor:
    return torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(7)))[0]


def test_gram_is_a_double_loop_over_patches() -> None:
    p, t = pair(2, 5, 4)
    wanted = np.zeros(2)
    for image in range(2):
        for a in range(5):
            for b in range(5):
                cosines = [
                    float(x[image, a] @ x[image, b] / x[image, a].norm() / x[image, b].norm()) for x in (p, t)
                ]
                wanted[image] += (cosines[0] - cosines[1]) ** 2 / 25
    np.testing.assert_allclose(gram_distance(p, t), wanted, rtol=1e-5)


def test_cka_is_one_minus_the_alignment_of_doubly_centred_kernels() -> None:
    p, t = pair(2, 6, 3)
    centring = np.eye(6) - 1 / 6
    for image in range(2):
        k, l = (centring @ (x[image] @ x[image].T).double().numpy() @ centring for x in (p, t))
        wanted = 1 - np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))
        assert cka_distance(p, t)[image].item() == pytest.approx(wanted, abs=1e-5)
    assert cka_distance(*pair(3, 1, 4)).tolist() == [0, 0, 0]  # one patch has no relations


def test_rotations_leave_gram_and_cka_and_scale_and_shift_leave_cka() -> None:
    p, _ = pair(2, 6, 4)
    turned = p @ rotation(4)
    assert gram_distance(turned, p).max() < 1e-12
    assert cka_distance(3.0 * turned + 2.0, p).abs().max() < 1e-5
    assert gram_distance(turned + 2.0, p).min() > 1e-3


def test_patches_that_are_all_alike_have_a_finite_gradient() -> None:
    p = torch.ones(2, 5, 3, requires_grad=True)
    (gram_distance(p, pair(2, 5, 3)[1]) + cka_distance(p, pair(2, 5, 3)[1])).sum().backward()
    assert torch.isfinite(p.grad).all()  # type: ignore[arg-type]


def loop_arkd(p: np.ndarray, t: np.ndarray, by_teacher_mean: bool = False) -> np.ndarray:
    n = len(p)
    ours, theirs = (
        np.array([[np.linalg.norm(x[i] - x[j]) for j in range(n)] for i in range(n)]) for x in (p, t)
    )
    off = ~np.eye(n, dtype=bool)
    ours, theirs = ours / (theirs if by_teacher_mean else ours)[off].mean(), theirs / theirs[off].mean()
    median = np.sort(theirs[off])[(n * (n - 1) - 1) // 2]
    out = np.zeros(n)
    for i in range(n):
        for j in range(n):
            if i != j:
                x = max(
                    ours[i, j] - theirs[i, j] if theirs[i, j] < median else theirs[i, j] - ours[i, j], 0.0
                )
                out[i] += (x * x / 2 if x < 1 else x - 0.5) / (n - 1)
    return out


@pytest.mark.parametrize("name", ["arkd", "arkd_teacher_mean"])
def test_arkd_is_a_double_loop_over_the_images_that_are_taught(name: str) -> None:
    p, t = pair(7, 4)
    by_teacher = name == "arkd_teacher_mean"
    wanted = loop_arkd(p.double().numpy(), 2 * t.double().numpy(), by_teacher)
    np.testing.assert_allclose(
        TERMS[name].function(p, 2 * t, TermContext(kind="cls")), wanted, rtol=1e-4, atol=1e-7
    )
    taught = torch.tensor([True, True, False, True, False, True, True])
    rows = torch.arange(7)
    some = asymmetric_distances(p, 2 * t, taught, rows, by_teacher_mean=by_teacher)
    wanted = loop_arkd(p[taught].double().numpy(), 2 * t[taught].double().numpy(), by_teacher)
    np.testing.assert_allclose(some[taught], wanted, rtol=1e-4, atol=1e-7)
    assert some[~taught].tolist() == [0, 0]


def test_arkd_of_an_isometric_copy_is_zero_and_one_image_has_no_distances() -> None:
    _, t = pair(6, 4)
    copy = (t @ rotation(4) + 5.0).requires_grad_()
    for name in ("arkd", "arkd_teacher_mean"):
        value = TERMS[name].function(copy, t, TermContext(kind="cls"))
        assert value.max() < 1e-10
        value.sum().backward()
        assert torch.isfinite(copy.grad).all()  # type: ignore[arg-type]
        assert TERMS[name].function(t[:1], 3 * t[:1], TermContext(kind="cls")).tolist() == [0]
    # Own means forget the scale, the teacher's mean does not.
    assert TERMS["arkd"].function(3 * t, t, TermContext(kind="cls")).max() < 1e-10
    assert TERMS["arkd_teacher_mean"].function(3 * t, t, TermContext(kind="cls")).min() > 0.1


@pytest.mark.parametrize("by_teacher_mean", [False, True])
def test_arkd_of_a_single_taught_image_is_zero_with_a_finite_gradient(by_teacher_mean: bool) -> None:
    p, t = pair(3, 192)  # the others of the batch, untaught, lie far from it
    p.requires_grad_()
    taught = torch.tensor([False, True, False])
    value = asymmetric_distances(p, t, taught, torch.arange(3), by_teacher_mean=by_teacher_mean)
    assert value.tolist() == [0, 0, 0]
    value.sum().backward()
    assert torch.isfinite(p.grad).all()  # type: ignore[arg-type]


def in_threads(ranks: int, work: Callable[[int, Callable[[Tensor], Tensor]], Tensor]) -> list[Tensor]:
    """What `work(rank, all_reduce_sum)` gives on every rank; ranks are threads that wait for one another."""
    barrier, box, results = threading.Barrier(ranks, timeout=20), [torch.empty(0)] * ranks, [None] * ranks

    def run(rank: int) -> None:
        def all_reduce_sum(x: Tensor) -> Tensor:
            box[rank] = x.clone()
            barrier.wait()
            total = torch.stack(box).sum(0)
            barrier.wait()
            return x.copy_(total)

        results[rank] = work(rank, all_reduce_sum)  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results  # type: ignore[return-value]


def test_two_ranks_compare_the_images_of_both() -> None:
    torch.manual_seed(3)
    inputs, targets, weight = torch.randn(8, 5), torch.randn(8, 4), torch.randn(5, 4)
    taught = torch.tensor([1.0, 1, 0, 1, 1, 1, 1, 1])
    kept = torch.tensor([1.0, 0, 1, 1, 1, 1, 0, 1])  # dropping treats the two images of a pair differently

    def gradient(rank: int, world: int, all_reduce_sum: Callable[[Tensor], Tensor]) -> Tensor:
        mine = slice(rank * 8 // world, (rank + 1) * 8 // world)
        w = weight.clone().requires_grad_()
        rows = taught[mine].nonzero()[:, 0]
        context = StepContext(
            step=0, total_steps=1, rank=rank, world_size=world, all_reduce_sum=all_reduce_sum
        )
        near = Neighbours(context=context, batch=8 // world, rows=rows, allowed=taught[mine])
        term = TERMS["arkd"].function(
            (inputs[mine] @ w)[rows], targets[mine][rows], TermContext(kind="cls", neighbours=near)
        )
        ((kept[mine][rows] * term).sum() / (kept * taught).sum() * world).backward()
        return w.grad  # type: ignore[return-value]

    whole = gradient(0, 1, lambda x: x)
    parts = in_threads(2, lambda rank, reduce: gradient(rank, 2, reduce))
    torch.testing.assert_close(sum(parts) / 2, whole)
    assert whole.abs().max() > 1e-4


def test_relational_terms_beside_the_published_ones() -> None:
    p, t = (
        Tokens(patches=pair(3, 4, 8, seed=s)[0], grid=(2, 2), cls=pair(3, 8, seed=s + 9)[0]) for s in (1, 2)
    )
    both = DistillationLoss(LossConfig(weights={"cosine": 0.9, "gram": 2.0, "cka": 0.5}))
    losses = both.of_teacher(p, t, ("cls", "patch"))
    assert list(losses["cls"].terms) == ["cosine"]  # the others are for patches alone
    patch = losses["patch"].terms
    torch.testing.assert_close(
        losses["patch"].total, 0.9 * patch["cosine"] + 2 * patch["gram"] + 0.5 * patch["cka"]
    )
    summary = DistillationLoss(LossConfig(summary={"cosine": 1.0, "arkd": 1.0}))
    found = summary.of_teacher(p, t, ("cls",))["cls"]
    torch.testing.assert_close(found.total, found.terms["cosine"] + found.terms["arkd"])


def test_terms_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"arkd compares class tokens, .* Name it in summary"):
        LossConfig(weights={"cosine": 1.0, "arkd": 1.0})
    with pytest.raises(ConfigError, match=r"gram compares the patches of an image, .* Name it in weights"):
        LossConfig(summary={"cosine": 1.0, "gram": 1.0})
    alone = DistillationLoss(LossConfig(weights={"gram": 1.0}))
    alone.require(("patch",))
    with pytest.raises(ConfigError, match=r"no term of distill\.loss\.weights is for class tokens"):
        alone.require(("cls", "patch"))
