"""Held-out distillation losses per teacher, source and token kind, summed on the device and read once at the end."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from codistill.distill.losses import DistillationLoss, TokenLoss, image_loss
from codistill.errors import DataError
from codistill.types import TokenKind


class ValidationTable:
    """Sums of losses, (source, column) in fp64. All ranks have the same rows and columns, so their tables can be added.

    Args:
        kinds: token kinds of each teacher.
        sources: names of the held-out sources; the same on every rank.
        loss: its terms are the columns.
        device: of the sums; also needed on a rank without images, which still joins the reduction.
    """

    def __init__(
        self,
        kinds: Mapping[str, Sequence[TokenKind]],
        sources: Sequence[str],
        loss: DistillationLoss,
        device: torch.device,
    ) -> None:
        self.kinds, self.terms = kinds, loss.terms
        self.sources = {name: row for row, name in enumerate(sources)}
        self.columns = ["count"]
        for teacher, of_teacher in kinds.items():
            self.columns.append(f"{teacher}/loss")
            for kind in of_teacher:
                self.columns += [f"{teacher}/{kind}/{w.term.similarity or w.name}" for w in loss.terms[kind]]
        self.sums = torch.zeros(len(self.sources), len(self.columns), dtype=torch.float64, device=device)

    def add(self, losses: Mapping[str, Mapping[TokenKind, TokenLoss]], sources: Sequence[str]) -> None:
        """Add a batch: losses per teacher and kind, and the source of each image.

        Raises:
            DataError: if an image is of an unknown source.
        """
        unknown = set(sources) - set(self.sources)
        if unknown:
            raise DataError(f"held-out images of {sorted(unknown)}; known sources: {list(self.sources)}")
        values: list[Tensor] = []
        for by_kind in losses.values():
            values.append(image_loss(by_kind))
            for kind, of_kind in by_kind.items():
                for weighted, value in zip(self.terms[kind], of_kind.terms.values(), strict=True):
                    values.append(1.0 - value if weighted.term.similarity else value)
        stacked = torch.stack([torch.ones_like(values[0]), *values], dim=1).double()  # (image, column)
        rows = torch.tensor([self.sources[name] for name in sources], device=stacked.device)
        self.sums.index_add_(0, rows, stacked)

    def result(self, all_reduce_sum: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return means as `{source}/{teacher}/…` for every source that had images, and `all/…` over all of them."""
        sums = all_reduce_sum(self.sums).cpu()
        if not self.sources or sums[:, 0].sum() == 0:
            return {}
        table = {name: sums[row] for name, row in self.sources.items() if sums[row, 0] > 0}
        table["all"] = sums.sum(0)
        numbers: dict[str, float] = {}
        for source, row in table.items():
            numbers[f"{source}/images"] = row[0].item()
            for column, total in zip(self.columns[1:], row[1:], strict=True):
                numbers[f"{source}/{column}"] = (total / row[0]).item()
        numbers["loss"] = sum(numbers[f"all/{teacher}/loss"] for teacher in self.kinds) / len(self.kinds)
        return numbers
