"""Fit many heads at once on random pixels of cached views: one AdamW, with a learning rate per head.

Every head sees the same pixels in the same order, so heads differ only in their learning rate. The last state is stored
next to the cache: an interrupted fit resumes, bit for bit on a CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.files.tensors import write_tensors

STATE = "fit_state.safetensors"

Losses = Callable[[nn.Module, int], Float[Tensor, " head"]]
"""Given the heads and a step, returns one loss per head."""


class HeadsOptimizer(Protocol):
    """What `fit_heads` needs from an optimizer."""

    def moments(self) -> Mapping[str, Mapping[str, Tensor]]:
        """State by kind and parameter; `fit_heads` saves it, and restores it in place."""
        ...

    def step(self, number: int, factor: float) -> None:
        """Update the parameters at `factor` times the peak learning rates, and clear the gradients."""
        ...


class HeadsSGD:
    """SGD with momentum over parameters whose first axis is the head, each head with its own learning rate.

    Args:
        heads: the module; all its parameters are trained.
        learning_rates: peak learning rate of each head.
        momentum: see `torch.optim.SGD`.
    """

    def __init__(self, heads: nn.Module, learning_rates: Sequence[float], momentum: float = 0.9) -> None:
        self.parameters = dict(heads.named_parameters())
        self.rates = torch.tensor(learning_rates, device=next(iter(self.parameters.values())).device)
        self.momentum = momentum
        self.velocity = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def moments(self) -> Mapping[str, Mapping[str, Tensor]]:
        return {"velocity": self.velocity}

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        for name, p in self.parameters.items():
            assert p.grad is not None
            velocity = self.velocity[name].mul_(self.momentum).add_(p.grad)
            p.sub_(_along(self.rates * factor, p) * velocity)
            p.grad = None


class HeadsAdamW:
    """AdamW over parameters whose first axis is the head; each head has its own learning rate and gradient clipping.

    Args:
        heads: the module; all its parameters are trained.
        learning_rates: peak learning rate of each head.
        betas, eps, weight_decay: AdamW's; decay acts on every parameter.
        clip_norm: largest gradient norm of a head over all its parameters; None for no limit.
    """

    def __init__(
        self,
        heads: nn.Module,
        learning_rates: Sequence[float],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.parameters = dict(heads.named_parameters())
        device = next(iter(self.parameters.values())).device
        self.rates = torch.tensor(learning_rates, device=device)
        self.betas, self.eps, self.weight_decay, self.clip_norm = betas, eps, weight_decay, clip_norm
        self.first = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def moments(self) -> Mapping[str, Mapping[str, Tensor]]:
        return {"first": self.first, "second": self.second}

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        """See `HeadsOptimizer`; `number` is 0-based."""
        scale = self._clipping()
        corrections = [1.0 - beta ** (number + 1) for beta in self.betas]
        for name, p in self.parameters.items():
            assert p.grad is not None
            gradient = p.grad if scale is None else p.grad * _along(scale, p)
            rate = _along(self.rates * factor, p)
            first, second = self.first[name], self.second[name]
            p.mul_(1.0 - rate * self.weight_decay)
            first.lerp_(gradient, 1.0 - self.betas[0])
            second.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1.0 - self.betas[1])
            p.sub_(rate * (first / corrections[0]) / ((second / corrections[1]).sqrt() + self.eps))
            p.grad = None

    def _clipping(self) -> Tensor | None:
        if self.clip_norm is None:
            return None
        squares = [p.grad.flatten(1).square().sum(1) for p in self.parameters.values() if p.grad is not None]
        norms = torch.stack(squares).sum(0).sqrt()
        return (self.clip_norm / (norms + 1e-6)).clamp(max=1.0)


def _along(values: Tensor, p: Tensor) -> Tensor:
    return values.view(-1, *[1] * (p.ndim - 1))


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """Length and schedule of a fit.

    Attributes:
        factors: factors on the peak learning rates, one per step.
        save_every: steps between saved states.
    """

    factors: Sequence[float]
    save_every: int = 500

    def __post_init__(self) -> None:
        if not self.factors or self.save_every < 1:
            raise ConfigError(
                f"a fit needs steps and save_every >= 1; got {len(self.factors)} and {self.save_every}"
            )


def fit_heads(
    heads: nn.Module,
    losses: Losses,
    optimizer: HeadsOptimizer,
    plan: FitPlan,
    folder: Path,
    *,
    progress: Callable[[int, int, Tensor], None] = lambda done, total, losses: None,
) -> None:
    """Train the heads in place, starting from the state in the folder if there is one.

    Args:
        heads: see `heads/linear/batched.py`.
        losses: computes one loss per head; the gradient of their sum is, for each head, that of its own loss.
        folder: folder for the training state.
        progress: called at each save with steps done, steps in all, and the losses.

    Raises:
        CheckpointError: if the state cannot be written.
    """
    path = folder / STATE
    start = _restore(path, heads, optimizer)
    heads.train()
    total = len(plan.factors)
    for step in range(start, total):
        loss = losses(heads, step)
        loss.sum().backward()
        optimizer.step(step, plan.factors[step])
        if step + 1 == total or (step + 1) % plan.save_every == 0:
            _save(path, heads, optimizer, step + 1)
            progress(step + 1, total, loss.detach())
    heads.eval()


def _save(path: Path, heads: nn.Module, optimizer: HeadsOptimizer, done: int) -> None:
    tensors = {f"heads.{name}": t for name, t in heads.state_dict().items()}
    for kind, moments in optimizer.moments().items():
        tensors |= {f"{kind}.{name}": t for name, t in moments.items()}
    write_tensors(path, tensors, {"done": str(done)})


def _restore(path: Path, heads: nn.Module, optimizer: HeadsOptimizer) -> int:
    """Restore the state and return the steps done; 0 if there is no state or it is damaged."""
    if not path.exists():
        return 0
    try:
        done = int(_header(path)["done"])
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError, OSError):
        return 0
    heads.load_state_dict({n.removeprefix("heads."): t for n, t in tensors.items() if n.startswith("heads.")})
    for kind, moments in optimizer.moments().items():
        for name, moment in moments.items():
            moment.copy_(tensors[f"{kind}.{name}"])
    return done


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
