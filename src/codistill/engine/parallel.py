"""The engine's wrappers of a trainable module: DDP or FSDP2, compilation, activation checkpointing.

A plain module goes in, the module that the objective calls comes out. All wrappers act on the module in place or around
it, so the names in its state dict never change. The transformer blocks are the units of sharding, recomputation and
compilation. They repeat, so they are compiled once, and gradients are sent while earlier blocks are still being
differentiated.
"""

import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from codistill.engine.distributed import Process
from codistill.engine.settings import Strategy
from codistill.nn.blocks import Block, DecoderBlock
from codistill.nn.frozen import FrozenBlock

_FORMS = 64
"""Largest number of compiled variants of a block's code, which teachers and student share.

There is one variant for each width, grid, dtype, position embedding and gradient mode; further ones run uncompiled.
PyTorch's own limit is 8.
"""


def repeated_units(module: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a module, in order."""
    return [part for part in module.modules() if isinstance(part, (Block, DecoderBlock, FrozenBlock))]


def recompute_activations(module: nn.Module) -> None:
    """Keep only the inputs of transformer blocks for the backward pass: less memory, about a third more compute."""
    for unit in repeated_units(module):
        unit.forward = partial(_recomputed, unit.forward)  # type: ignore[method-assign]


def _recomputed(forward: Callable[..., torch.Tensor], *inputs: object, **options: object) -> torch.Tensor:
    return checkpoint(forward, *inputs, use_reentrant=False, **options)  # type: ignore[return-value]


def compile_units(module: nn.Module) -> None:
    """`torch.compile` each transformer block in place, or the whole module if it has none.

    Shapes are compiled as constants: student and teachers have different token counts, and kernels for any count are no
    faster than uncompiled code (H100). Each new shape is compiled anew, which takes a few seconds.
    """
    limits = torch._dynamo.config  # pyright: ignore[reportPrivateUsage]
    limits.recompile_limit = max(_FORMS, limits.recompile_limit)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    for unit in repeated_units(module) or [module]:
        unit.compile(dynamic=False)  # pyright: ignore[reportUnknownMemberType]


def wrap(module: nn.Module, process: Process, strategy: Strategy) -> nn.Module:
    """Copy rank 0's values to the module on every rank and wrap it for training.

    With one process, the plain module is returned. DDP looks for parameters without a gradient in each step, because
    some never have one (a mask token, a final norm that no loss depends on). Without that search, DDP would also sort
    gradients into other buckets after its first step. With three or more ranks it would then sum them in another order
    than a resumed run does in its first step. Buffers are not synchronized: objectives keep them equal.
    """
    if process.world_size == 1:
        return module
    process.broadcast((*module.parameters(), *module.buffers()))
    if strategy == "fsdp2":
        mesh = init_device_mesh(process.device.type, (process.world_size,))
        for unit in repeated_units(module):
            fully_shard(unit, mesh=mesh)
        fully_shard(module, mesh=mesh)  # in place: the module's class becomes an FSDPModule
        return module
    warnings.filterwarnings("ignore", message=".*did not find any unused parameters in the forward pass.*")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        return DistributedDataParallel(
            module,
            device_ids=[process.device] if process.device.type == "cuda" else None,
            broadcast_buffers=False,  # its replacement, forward_sync_buffers, is newer than the oldest torch allowed
            gradient_as_bucket_view=True,
            find_unused_parameters=True,
        )


def synchronizing(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Context for a micro-step's forward and backward pass: gradients are reduced in the last micro-step only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    elif isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return nullcontext()


def whole_state(module: nn.Module, keep: bool) -> dict[str, torch.Tensor]:
    """Return the module's state dict on the host, with sharded tensors gathered. Every rank must call this.

    Args:
        module: plain, or wrapped by FSDP2.
        keep: False returns an empty dict: such ranks only take part in the gathering, one tensor at a time.
    """
    whole: dict[str, torch.Tensor] = {}
    for name, tensor in module.state_dict().items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            whole[name] = full.detach().cpu()
    return whole


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients within the block; training mode afterwards."""
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train()


@contextmanager
def gathered(model: nn.Module) -> Generator[None]:
    """Hold all parameters of an FSDP2 model on every rank within the block, so that a forward pass needs no other rank.

    This takes the memory of the whole model once. Every rank must enter and leave the block. A forward pass may fail
    inside.
    """
    units = [part for part in model.modules() if isinstance(part, FSDPModule)]
    if isinstance(model, FSDPModule):
        # Usually done by the first forward pass; a resumed run may start with a validation instead.
        model._get_fsdp_state()._lazy_init()  # pyright: ignore[reportPrivateUsage]
    for unit in units:
        unit.unshard()
        unit.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not model, recurse=False)  # `fully_shard`'s own rule
        if isinstance(model, FSDPModule) and hasattr(
            model, "reset_iter_state"
        ):  # not in the oldest torch allowed
            model.reset_iter_state()
