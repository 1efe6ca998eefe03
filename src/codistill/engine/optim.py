"""The optimizer: gradients in, updated parameters and gradient norms out, without a read back to the host.

Fused AdamW. Weight decay acts on tensors with two or more dimensions that are not biases. Gradients are clipped per
tensor (published DUNE training), all together, or not at all. The device decides whether a step is skipped; a skipped
step changes neither parameters nor moments. A parameter without a gradient gets no weight decay and has no moments.
Works on plain parameters and on FSDP2's shards.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from codistill.engine.objective import identity
from codistill.engine.schedule import Schedule, ramped, warmup_cosine
from codistill.errors import ConfigError, unknown_name
from codistill.nn.sharding import is_sharded, local_part

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_CLIP_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its learning-rate schedule; the defaults are DUNE's.

    Attributes:
        lr: peak learning rate at a global batch of `reference_batch` images; it scales linearly with the batch.
        reference_batch: see `lr`; None uses `lr` without scaling.
        min_lr: value at which the schedule ends; not scaled.
        warmup_fraction: share of the steps that warm up, in [0, 1].
        betas, eps, weight_decay: of AdamW.
        clip: `per_tensor` limits the norm of each tensor's gradient to `clip_norm`, `global` the norm of all gradients
            together, `none` nothing.
        clip_norm: positive.
        schedule: `warmup_cosine` rises linearly, then falls as a cosine (DUNE). `ramped_cosine` and `ramped_linear`
            fall over the whole run; during warm-up they are multiplied by a ramp from `ramp_start` to 1.
        ramp_start: see `schedule`.
        decay: weight decay acts on `matrices` (see `decayed`), or on `all` parameters.
        lr_scales: (prefix, factor) pairs: the learning rate of parameters whose name begins with the prefix is
            multiplied by the factor. If several prefixes fit, the longest counts. Factors are above 0; every prefix
            must be that of a trained parameter.
    """

    lr: float = 3e-4
    reference_batch: int | None = 256
    min_lr: float = 1e-6
    warmup_fraction: float = 0.2
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-15
    weight_decay: float = 0.03
    clip: Literal["per_tensor", "global", "none"] = "per_tensor"
    clip_norm: float = 1.0
    schedule: Schedule = "warmup_cosine"
    ramp_start: float = 0.0
    decay: Literal["matrices", "all"] = "matrices"
    lr_scales: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("lr", "min_lr", "eps", "weight_decay", "ramp_start"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigError(f"{name} is {value}; it must be a finite number, 0 or more.")
        if not self.clip_norm > 0.0:
            raise ConfigError(
                f"clip_norm is {self.clip_norm}; it must be positive. For no clipping: clip = none."
            )
        if self.clip not in ("per_tensor", "global", "none"):
            raise ConfigError(f"clip is {self.clip!r}; it must be per_tensor, global or none.")
        choices = {
            "schedule": ("warmup_cosine", "ramped_cosine", "ramped_linear"),
            "decay": ("matrices", "all"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(unknown_name(name, str(getattr(self, name)), allowed))
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ConfigError(f"betas are {self.betas}; both must lie in [0, 1).")
        if not 0.0 <= self.warmup_fraction <= 1.0:
            raise ConfigError(f"warmup_fraction is {self.warmup_fraction}; it must lie between 0 and 1.")
        if self.reference_batch is not None and self.reference_batch < 1:
            raise ConfigError(f"reference_batch is {self.reference_batch}; it must be positive, or null.")
        for prefix, factor in self.lr_scales:
            if not (math.isfinite(factor) and factor > 0.0):
                raise ConfigError(f"the factor of {prefix!r} in lr_scales is {factor}; it must be above 0.")

    def lr_scale(self, name: str) -> float:
        """Factor of the learning rate of a parameter."""
        fitting = [(len(prefix), factor) for prefix, factor in self.lr_scales if name.startswith(prefix)]
        return max(fitting)[1] if fitting else 1.0

    def peak_lr(self, global_batch: int) -> float:
        """Peak learning rate for a global batch."""
        return self.lr * (1.0 if self.reference_batch is None else global_batch / self.reference_batch)

    def learning_rates(self, total_steps: int, global_batch: int) -> list[float]:
        peak = self.peak_lr(global_batch)
        if self.schedule == "warmup_cosine":
            return warmup_cosine(peak, self.min_lr, total_steps, self.warmup_fraction)
        curve: Literal["cosine", "linear"] = "cosine" if self.schedule == "ramped_cosine" else "linear"
        return ramped(curve, peak, self.min_lr, total_steps, self.warmup_fraction, self.ramp_start)


def decayed(name: str, parameter: Tensor) -> bool:
    """Whether weight decay acts on a parameter: two or more dimensions, and not a bias."""
    return parameter.ndim >= 2 and not name.endswith(".bias")


@dataclass(frozen=True)
class GradientNorms:
    """Gradients' local parts, and the norm of each tensor that has a gradient, `norms` (tensor,), before clipping."""

    norms: Tensor
    gradients: list[Tensor]


class TrainOptimizer:
    """AdamW over named parameters, with a learning rate for each step.

    Args:
        named_parameters: names as in the state dict; parameters with `requires_grad=False` are left out.
        config: see `OptimConfig`.
        total_steps, global_batch: of the run; they determine the learning rates.
        all_reduce_sum: sums a tensor over ranks; used only for the norms of sharded gradients.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        config: OptimConfig,
        *,
        total_steps: int,
        global_batch: int,
        all_reduce_sum: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        self.config = config
        self.parameters = {name: p for name, p in named_parameters if p.requires_grad}
        if not self.parameters:
            raise ConfigError(
                "the objective's module has no parameter that requires a gradient: nothing to train."
            )
        self._check_prefixes()
        self.learning_rates = config.learning_rates(total_steps, global_batch)
        self._all_reduce_sum = all_reduce_sum
        self._adamw = torch.optim.AdamW(
            self._groups(),
            lr=0.0,
            betas=config.betas,
            eps=config.eps,
            fused=True,
        )

    def _check_prefixes(self) -> None:
        """Refuse prefixes without effect: with a typing error, parameters would train at the full rate."""
        prefixes = [prefix for prefix, _ in self.config.lr_scales]
        longest = {
            max((p for p in prefixes if name.startswith(p)), key=len, default="") for name in self.parameters
        }
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise ConfigError(f"lr_scales gives {prefix!r} more than one factor; keep one.")
            if not any(name.startswith(prefix) for name in self.parameters):
                first = dict.fromkeys(name.partition(".")[0] for name in self.parameters)
                raise ConfigError(
                    f"lr_scales names {prefix!r}, with which no trained parameter begins. They begin with: "
                    f"{', '.join(first)}."
                )
            if prefix not in longest:
                raise ConfigError(
                    f"the factor of {prefix!r} in lr_scales would have no effect: every trained parameter that begins "
                    "so also begins with a longer prefix of the list. Leave it out."
                )

    def _groups(self) -> list[dict[str, Any]]:
        """Parameter groups with the same weight decay and learning-rate factor."""
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            decays = self.config.decay == "all" or decayed(name, parameter)
            groups.setdefault((decays, self.config.lr_scale(name)), []).append(parameter)
        return [
            {"params": members, "weight_decay": self.config.weight_decay * decays, "lr_scale": scale}
            for (decays, scale), members in groups.items()
        ]

    @property
    def sharded(self) -> bool:
        """Whether the parameters are FSDP2's shards."""
        return any(is_sharded(p) for p in self.parameters.values())

    def zero_grad(self) -> None:
        self._adamw.zero_grad(set_to_none=True)

    @torch.no_grad()
    def scale_gradients(self, factor: Tensor) -> None:
        """Multiply all gradients by a scalar on the device, the same on every rank."""
        gradients = [local_part(p.grad) for p in self.parameters.values() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

    @torch.no_grad()
    def measure(self) -> GradientNorms:
        """Compute the norm of every gradient tensor; of a sharded one, over all shards."""
        whole = [p.grad for p in self.parameters.values() if p.grad is not None]
        gradients = [local_part(gradient) for gradient in whole]
        norms = torch.stack(torch._foreach_norm(gradients))  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
        if is_sharded(whole[0]):
            norms = self._all_reduce_sum(norms.square()).sqrt()  # from local shards to whole tensors
        return GradientNorms(norms, gradients)

    @torch.no_grad()
    def update(self, step: int, gradients: GradientNorms, skip: Tensor | None = None) -> None:
        """Clip the gradients and update the parameters, unless `skip` (a float scalar, 0 or 1, on the device) is 1.

        Args:
            step: 0-based; selects the learning rate.
            gradients: the result of `measure`; clipped in place.
            skip: 1 leaves parameters and moments exactly as they are.
        """
        self._clip(gradients)
        for group in self._adamw.param_groups:
            group["lr"] = self.learning_rates[step] * group["lr_scale"]
        self._adamw.grad_scale = None  # type: ignore[attr-defined]  (read by the fused kernel beside found_inf)
        self._adamw.found_inf = skip  # type: ignore[attr-defined]
        self._adamw.step()

    def _clip(self, gradients: GradientNorms) -> None:
        if self.config.clip == "none":
            return
        norms = gradients.norms if self.config.clip == "per_tensor" else gradients.norms.norm()
        factors = (self.config.clip_norm / (norms + _CLIP_EPS)).clamp(max=1.0)  # on the device: no host sync
        if self.config.clip == "global":
            torch._foreach_mul_(gradients.gradients, factors)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
            return
        tensors, each = gradients.gradients, list(factors.unbind())
        if factors.device.type == "cpu":  # there, reading is free, and a pass over all gradients is not
            large = [index for index, factor in enumerate(factors.tolist()) if factor != 1.0]  # also NaN
            tensors, each = [tensors[i] for i in large], [each[i] for i in large]
        if tensors:
            torch._foreach_mul_(tensors, each)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

    def metrics(self, gradients: GradientNorms) -> dict[str, Tensor]:
        """Scalars for the log: mean and largest norm of the gradients, and the number of clipped tensors."""
        norms = gradients.norms
        limit = self.config.clip_norm - _CLIP_EPS
        clipped = {
            "per_tensor": (norms > limit).sum(),
            "global": (norms.norm() > limit) * norms.numel(),
            "none": torch.zeros_like(norms[0]),
        }[self.config.clip]
        return {
            "gradient/mean": norms.mean(),
            "gradient/max": norms.max(),
            "gradient/clipped": clipped.float(),
        }

    def state_tensors(self) -> dict[str, Tensor]:
        """Return AdamW's moments of the updated parameters, as `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME`."""
        state = self._adamw.state
        return {
            f"{moment}.{name}": state[p][moment]
            for name, p in self.parameters.items()
            if p in state
            for moment in MOMENTS
        }

    def empty_state(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return zero tensors for `load_state`, in the layout of the parameters (sharded if they are).

        Raises:
            ConfigError: if a key belongs to none of this optimizer's parameters.
        """
        zeros: dict[str, Tensor] = {}
        for key in keys:
            moment, _, name = key.partition(".")
            if moment not in MOMENTS or name not in self.parameters:
                raise ConfigError(f"the saved optimizer state has {key!r}, which this model does not train.")
            p = self.parameters[name].detach()
            zeros[key] = torch.zeros_like(p) if moment != "step" else torch.zeros((), device=p.device)
        return zeros

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load moments as `state_tensors` returned them."""
        self._adamw.state.clear()
        for key, tensor in tensors.items():
            moment, _, name = key.partition(".")
            self._adamw.state[self.parameters[name]][moment] = tensor
