"""Relational losses: compare the relations among tokens in the prediction with those in the target. Pure functions.

* Gram (DINOv3, arXiv 2508.10104): cosines between all patches of an image.
* CKA (PaKA, arXiv 2509.05606): one minus the centred kernel alignment of an image's patches, with linear kernels. Of
  PaKA only the loss is implemented, on all patches; its views and heads are not.
* ARKD (SigLino, arXiv 2512.20157): distances between the summaries of a batch. Near pairs are only pulled together, far
  pairs only pushed apart. The paper does not say whether the student's distances are divided by their own mean or by
  the teacher's: both are implemented.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from codistill.nn.precision import full_precision

CKA_EPS = 1e-6


def gram_distance(
    prediction: Float[Tensor, "image patch channel"], target: Float[Tensor, "image patch channel"]
) -> Float[Tensor, " image"]:
    """Mean squared difference of the cosines between all pairs of an image's patches, (patch, patch)."""
    with full_precision(prediction):
        p, t = (normalize(x.float(), dim=-1) for x in (prediction, target))
        return (p @ p.mT - t @ t.mT).square().mean((1, 2))


def cka_distance(
    prediction: Float[Tensor, "image patch channel"], target: Float[Tensor, "image patch channel"]
) -> Float[Tensor, " image"]:
    """1 - CKA with linear kernels over an image's patches; 0 for a single patch, which has no relations."""
    if prediction.shape[1] < 2:
        return 0.0 * prediction.sum((1, 2))
    with full_precision(prediction):
        p, t = (_centred_kernel(x.float()) for x in (prediction, target))  # (image, patch, patch)
        lengths = p.flatten(1).norm(dim=1) * t.flatten(1).norm(dim=1)  # norm: its gradient at 0 is 0
        return 1.0 - (p * t).sum((1, 2)) / (lengths + CKA_EPS)


def _centred_kernel(x: Tensor) -> Tensor:
    """H X Xᵀ H with the centring matrix H = 1 - 1/n, computed by subtracting each channel's mean over patches."""
    x = x - x.mean(1, keepdim=True)
    return x @ x.mT


def asymmetric_distances(
    prediction: Float[Tensor, "image channel"],
    target: Float[Tensor, "image channel"],
    taught: Bool[Tensor, " image"],
    rows: Int[Tensor, " row"],
    *,
    by_teacher_mean: bool = False,
) -> Float[Tensor, " row"]:
    """ARKD of some images to all others that the teacher teaches; 0 if it teaches fewer than two.

    D is the matrix of distances divided by its mean, and m is the (lower) median of the teacher's. A pair with D_T < m
    costs smooth L1 (beta 1) of max(D_S - D_T, 0), any other pair that of max(D_T - D_S, 0). The value of an image is
    the mean over its pairs.

    Args:
        prediction, target: summaries of the whole batch.
        taught: which images of the batch the teacher teaches.
        rows: the images to return a value for.
        by_teacher_mean: divide the student's distances by the teacher's mean instead of their own.
    """
    with full_precision(prediction):
        ours, theirs = (_distances(x.float()) for x in (prediction, target))  # (image, image)
    pairs = (taught[:, None] & taught[None, :]).fill_diagonal_(False)
    ours, theirs = ours * pairs, theirs * pairs  # no other distance may overflow where the means are 0
    count = pairs.sum()
    mean_ours, mean_theirs = (
        d.sum() / count.clamp(min=1) + torch.finfo(d.dtype).tiny for d in (ours, theirs)
    )
    ours = ours / (mean_theirs if by_teacher_mean else mean_ours)
    theirs = theirs / mean_theirs
    ranked = torch.where(pairs, theirs, torch.inf).flatten().sort().values
    median = ranked.index_select(0, ((count - 1) // 2).clamp(min=0)[None])  # on the device: no host sync
    excess = torch.where(theirs < median, ours - theirs, theirs - ours).clamp(min=0)
    values = smooth_l1_loss(excess, torch.zeros_like(excess), reduction="none") * pairs
    return (values.sum(1) / (taught.sum() - 1).clamp(min=1)).index_select(0, rows)


def _distances(x: Tensor) -> Tensor:
    """Euclidean distances (image, image), without the cancellation of the product form; the gradient at 0 is 0."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
