"""Data sharing: which teacher teaches which image. Domains of a batch in, rows per teacher out.

* `full`: every teacher teaches every image.
* `none`: a teacher teaches only the images of its own domain.
* `generic`: a teacher teaches the images of its own domain, and those of the generic domain (or only those of
  `shared_sources`).

The host decides this from names, before any network runs. Source: DUNE, section 4.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from codistill.errors import ConfigError
from codistill.nn.rows import Rows
from codistill.types import Domain


@dataclass(frozen=True, kw_only=True)
class SharingConfig:
    """Which images the teachers share.

    Attributes:
        mode: `full`, `generic` or `none`.
        shared_sources: with `generic`, the sources that are shared. None: every source of the generic domain.
            The paper's Table 2 shares ImageNet-19K alone: ("in19k",).
        generic_domain: the name of the domain that counts as generic.
        skip_untaught: run each teacher, its projector and its losses only on the images that it teaches. False is what
            the published code does: everything runs on every image, target statistics use all images, and
            sharing only weighs the losses.
    """

    mode: Literal["full", "generic", "none"] = "full"
    shared_sources: tuple[str, ...] | None = None
    generic_domain: Domain = "generic"
    skip_untaught: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ("full", "generic", "none"):
            raise ConfigError(f"sharing mode must be full, generic or none; got {self.mode!r}")
        if self.shared_sources is not None and self.mode != "generic":
            raise ConfigError(
                f"shared_sources only means something with mode generic; the mode is {self.mode!r}"
            )

        if isinstance(self.shared_sources, str):
            raise ConfigError(
                f"shared_sources are several names, ({self.shared_sources!r},); got the text {self.shared_sources!r}"
            )

    def teaches(self, teacher_domain: Domain, image_domain: Domain, source: str) -> bool:
        """Whether a teacher teaches an image, by the domains of both and the image's source."""
        if self.mode == "full" or teacher_domain == image_domain:
            return True
        if self.mode == "none":
            return False
        if self.shared_sources is not None:
            return source in self.shared_sources
        return image_domain == self.generic_domain


@dataclass(frozen=True)
class SharingPlan:
    """Data sharing of one batch.

    Attributes:
        allowed: (teacher, image), 1 where the teacher teaches the image, on the device.
        rows: the images that each teacher runs on. A teacher that teaches none gets image 0 with weight 0, so that
            every rank uses the same parameters.
        counts: for each teacher, how many of its rows count; 0 if its only row is such a placeholder.
    """

    allowed: Tensor
    rows: dict[str, Rows]
    counts: dict[str, int]

    def spread(self, values: Tensor, teacher: str) -> Tensor:
        """Spread a teacher's values (row,) over the batch: (image,), 0 for images without a row."""
        rows, batch = self.rows[teacher], self.allowed.shape[1]
        if rows is None:
            return values
        if isinstance(rows, slice):
            return pad(values, (rows.start, batch - rows.stop))
        return values.new_zeros(batch).index_copy(0, rows, values)  # differentiable


def _as_rows(indices: Sequence[int], batch: int, device: torch.device) -> Rows:
    if len(indices) == batch:
        return None
    if indices[-1] - indices[0] + 1 == len(indices):  # contiguous: a view instead of a copy
        return slice(indices[0], indices[-1] + 1)
    return to_device(torch.tensor(indices), device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small host tensor to a device without waiting for the device's queue."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)  # pinned: the host does not wait
    return tensor.to(device)


def plan_sharing(
    config: SharingConfig,
    teacher_domains: Mapping[str, Domain],
    image_domains: Sequence[Domain],
    sources: Sequence[str],
    device: torch.device,
) -> SharingPlan:
    """Plan the data sharing of a batch, on the host, with at most one small copy to the device per teacher."""
    batch = len(image_domains)
    table = [
        [config.teaches(domain, image, source) for image, source in zip(image_domains, sources, strict=True)]
        for domain in teacher_domains.values()
    ]
    rows: dict[str, Rows] = {}
    counts: dict[str, int] = {}
    for name, allowed in zip(teacher_domains, table, strict=True):
        indices = [i for i, yes in enumerate(allowed) if yes]  # images that this teacher teaches
        if not config.skip_untaught:
            rows[name], counts[name] = None, batch
        else:
            rows[name], counts[name] = _as_rows(indices or [0], batch, device), len(indices)
    if all(all(row) for row in table):  # (teacher, image); a table of ones is made on the device
        return SharingPlan(torch.ones(len(table), batch, device=device), rows, counts)
    return SharingPlan(to_device(torch.tensor(table, dtype=torch.float32), device), rows, counts)


def check_sharing(
    config: SharingConfig, teacher_domains: Mapping[str, Domain], sources: Mapping[str, Domain]
) -> None:
    """Refuse a configuration in which a source has no teacher or a teacher has no source.

    Raises:
        ConfigError: names these sources or teachers, and what to change.
    """
    idle_sources = [
        source
        for source, domain in sources.items()
        if not any(config.teaches(teacher, domain, source) for teacher in teacher_domains.values())
    ]
    idle_teachers = [
        name
        for name, teacher in teacher_domains.items()
        if not any(config.teaches(teacher, domain, source) for source, domain in sources.items())
    ]
    if idle_sources or idle_teachers:
        what = f"source(s) {', '.join(idle_sources)} would teach no one" if idle_sources else ""
        who = f"teacher(s) {', '.join(idle_teachers)} would have no image" if idle_teachers else ""
        raise ConfigError(
            f"with sharing mode {config.mode!r} {' and '.join(part for part in (what, who) if part)}. "
            f"Teacher domains: {dict(teacher_domains)}; source domains: {dict(sources)}. "
            "Change the domains, or use --sharing.mode full."
        )
