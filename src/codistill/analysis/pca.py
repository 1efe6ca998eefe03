"""Patch tokens as colours: their first three principal components (Fig. 2 of DUNE).

Covariances are accumulated in fp64 over a stream of tokens, so memory does not grow with the number of images. Signs
and scales are determined by the data on which the basis was fitted, so colours are comparable between images with the
same basis.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.nn.moments import Moments


@dataclass(frozen=True)
class PcaBasis:
    """Principal axes of tokens.

    Attributes:
        mean: (channel,), fp64.
        axes: (component, channel), orthonormal rows, by decreasing variance, fp64. The entry of largest magnitude in
            each row is positive.
        variance: (channel,), all eigenvalues of the covariance, decreasing, fp64.
        low, high: (component,), the 2nd and 98th percentile of the sample's projections: the range of the colours.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor

    def project(self, tokens: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch component"]:
        """Coordinates of tokens along the axes."""
        return (tokens.to(self.mean) - self.mean) @ self.axes.T

    def colours(self, tokens: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch component"]:
        """The coordinates scaled to [0, 1] by the range of the basis: red, green, blue."""
        return ((self.project(tokens) - self.low) / (self.high - self.low).clamp(min=1e-12)).clamp(0, 1)

    def explained(self) -> Tensor:
        """Cumulative share of the variance by number of components, (channel,)."""
        return self.variance.cumsum(0) / self.variance.sum()


def principal_axes(moments: Moments, sample: Tensor, components: int = 3) -> PcaBasis:
    """Compute the basis of all tokens in `moments`; colours are scaled to the range of `sample` (…, channel).

    Raises:
        DataError: for fewer than two tokens, or if a value was not finite.
    """
    count = int(moments.count)
    if count < 2 or not torch.isfinite(moments.packed).all():
        raise DataError(f"PCA needs at least two finite tokens; got {count}")
    mean = moments.mean()
    values, vectors = torch.linalg.eigh(moments.covariance(correction=1))
    axes = vectors.flip(1).T[:components]
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    axes = axes * signs
    along = (sample.double().cpu().reshape(-1, sample.shape[-1]) - mean) @ axes.T
    low, high = torch.quantile(along[:1_000_000], torch.tensor([0.02, 0.98], dtype=torch.float64), dim=0)
    return PcaBasis(mean, axes, values.flip(0).clamp(min=0), low, high)


def fit_pca(tokens: Iterable[Tensor], components: int = 3) -> PcaBasis:
    """Fit the basis of a stream of token sets (…, channel); colours are scaled to the range of a sample of them."""
    moments: Moments | None = None
    kept: list[Tensor] = []
    for part in tokens:
        moments = moments or Moments(part.shape[-1])
        moments.add(part.detach().cpu().double())
        kept = [*kept, part.detach().cpu().reshape(-1, part.shape[-1])][-64:]
    if moments is None:
        raise DataError("PCA needs at least one image")
    return principal_axes(moments, torch.cat(kept), components)


def align_axes(basis: PcaBasis, tokens: Tensor, reference: Tensor) -> PcaBasis:
    """Reorder the components and flip their signs to follow reference colours (…, component).

    PCA axes are only defined up to sign and, for similar variances, order. Aligned axes make the pictures of two
    encoders on the same images comparable. Components and reference components are paired by their largest
    correlations.
    """
    x = basis.project(tokens).reshape(-1, basis.axes.shape[0])
    y = reference.double().reshape(-1, reference.shape[-1])
    x, y = ((v - v.mean(0)) / v.std(0).clamp(min=1e-12) for v in (x, y))
    correlation = y.T @ x / (x.shape[0] - 1)
    free = correlation.abs()
    order, signs = [0] * y.shape[1], [1.0] * y.shape[1]
    for _ in range(y.shape[1]):
        row, column = divmod(int(free.argmax()), free.shape[1])
        order[row], signs[row] = column, 1.0 if correlation[row, column] >= 0 else -1.0
        free[row], free[:, column] = -1.0, -1.0
    sign = torch.tensor(signs, dtype=torch.float64)
    axes = basis.axes[order] * sign[:, None]
    low, high = basis.low[order] * sign, basis.high[order] * sign
    return PcaBasis(basis.mean, axes, basis.variance, torch.minimum(low, high), torch.maximum(low, high))
