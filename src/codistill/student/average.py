"""A moving average (EMA) of a network's weights: a second copy that follows the trained one.

average = decay * average + (1 - decay) * weights, computed by a few fused operations on the device, without a host
sync. The copy never has a gradient. It is a submodule beside the network that it follows, and is saved, moved and
resumed with it. Source: Polyak averaging, as in mean teachers and DINO.
"""

import copy

import torch
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.nn.sharding import local_part


class WeightAverage(nn.ModuleDict):
    """The moving average of some modules' parameters and running statistics, under the same names.

    Args:
        modules: the modules to follow; the average starts as a copy.
        decay: in [0, 1); 0.999 averages over about the last thousand updates.
    """

    def __init__(self, modules: nn.ModuleDict, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError(f"the decay of a weight average must be in [0, 1); got {decay}")
        super().__init__({name: copy.deepcopy(module) for name, module in modules.items()})
        self.decay = decay
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "WeightAverage":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, modules: nn.ModuleDict, skipped: Tensor | None = None) -> None:
        """Move parameters and running statistics towards those of the same name, without a host sync.

        Args:
            modules: the modules to follow.
            skipped: scalar on their device, 1 after a skipped step: the average stays as it is. None: 0.
        """
        present = dict(modules.named_parameters())
        pairs = [(local_part(p), local_part(present[name])) for name, p in self.named_parameters()]
        ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
        buffers = dict(modules.named_buffers())
        for name, kept in self.named_buffers():
            if kept.is_floating_point():
                ours.append(kept)
                theirs.append(buffers[name])
            else:
                kept.copy_(buffers[name])
        if skipped is None:
            torch._foreach_lerp_(ours, theirs, 1.0 - self.decay)  # pyright: ignore[reportPrivateImportUsage]
            return
        weight = (1.0 - self.decay) * (1.0 - skipped)
        weights = [weight.to(one.dtype) for one in ours]
        torch._foreach_lerp_(ours, theirs, weights)  # pyright: ignore[reportPrivateImportUsage]
