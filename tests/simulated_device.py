"""Run codistill on a simulated device: `python tests/simulated_device.py see a.jpg --perception dune-tiny --out seen`.

Most machines that run the tests have no GPU. A tensor on the simulated device is computed on the CPU but behaves like
one on a GPU: it cannot be converted to numpy, and an operation on tensors of both devices is an error, except where
PyTorch allows it (numbers without axes, indices, copies). `--device auto` and `cuda` mean this device. It needs parts
of PyTorch that are experimental (`torch.utils.backend_registration`), and costs about ten times the time.
"""

import sys
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "simulated"
COPIES = {"_to_copy", "copy_", "_copy_from", "_local_scalar_dense"}
INDEXED = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_", "_unsafe_index_put"}
made = 0
"""Number of tensors that were made on the device."""


class MixedDevicesError(RuntimeError):
    """An operation had tensors of both devices."""


class _Backend(_DummyBackendModule):
    """What PyTorch asks of the module of a device, `torch.simulated`."""

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Simulated(torch.Tensor):
    """A tensor on the simulated device; `host` holds its values."""

    host: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> "Simulated":
        global made
        made += 1
        found = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
        )
        found.host = host
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.host.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Simulated({self.host})"


class OnSimulatedDevice(TorchDispatchMode):
    """Context in which tensors can be made on the simulated device, and be copied to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs or {}))
        ours = any(isinstance(one, Simulated) or _is_device(one) for one in leaves)
        return _run(func, args, kwargs or {}) if ours else func(*args, **(kwargs or {}))


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == NAME


def _to_host(value: Any) -> Any:
    if isinstance(value, Simulated):
        return value.host
    return torch.device("cpu") if _is_device(value) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    _refuse_mixture(name, args, tensors)
    out = func(*tree_map(_to_host, args), **tree_map(_to_host, {**kwargs, **_unpinned(kwargs)}))
    returned = func._schema.returns
    if returned and returned[0].alias_info is not None and returned[0].alias_info.is_write:
        target = kwargs.get("out", tensors[0])
        same = not isinstance(target, Simulated) or target.shape == target.host.shape
        return target if same else Simulated(target.host)
    there = _is_device(kwargs["device"]) if kwargs.get("device") else any(map(_is_simulated, tensors))
    if not there or name == "_local_scalar_dense":
        return out
    return tree_map(lambda one: Simulated(one) if isinstance(one, torch.Tensor) else one, out)


def _is_simulated(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, Simulated)


def _unpinned(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"pin_memory": False} if kwargs.get("pin_memory") else {}


def _refuse_mixture(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    if name in COPIES or not any(map(_is_simulated, tensors)):
        return
    counted = tensors
    if name in INDEXED and _is_simulated(args[0]):  # indices may be on the host
        counted = [one for one in (args[0], *args[2:3]) if isinstance(one, torch.Tensor)]
    if not all(_is_simulated(one) or one.ndim == 0 for one in counted):
        said = ", ".join(f"{tuple(one.shape)} on {one.device.type}" for one in tensors)
        raise MixedDevicesError(f"{name} of tensors on different devices: {said}")


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return Simulated(torch.empty_strided(size, stride, dtype=dtype))


def _empty(size: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return Simulated(torch.empty(size, dtype=dtype))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _to_host(target).copy_(_to_host(source))
    return target


def _without_inference_mode(mode: Any = True) -> Any:
    """Stands in for `torch.inference_mode`, in which views of a subclass cannot be made."""
    if callable(mode):
        return torch.no_grad()(mode)
    return torch.no_grad() if mode else torch.enable_grad()


_KERNELS = torch.library.Library("aten", "IMPL")


def set_up() -> torch.device:
    """Register the device and let codistill choose it; before anything else of codistill is imported."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    kernels = {"empty_strided": _empty_strided, "empty.memory_format": _empty, "_copy_from": _copy_from}
    for name, kernel in kernels.items():  # for calls in which Python's dispatch is off, such as torch.tensor
        _KERNELS.impl(name, kernel, "PrivateUse1")
    torch.inference_mode = _without_inference_mode  # type: ignore[assignment,misc]
    device = torch.device(NAME, 0)
    from codistill.engine import distributed

    on_cpu = torch.device("cpu")
    distributed.choose_device = lambda choice, local_rank=0: on_cpu if choice == "cpu" else device
    return device


def main(words: list[str]) -> int:
    """Run one command of codistill on the device; it is an error if no tensor was made there."""
    set_up()
    from codistill.cli import main as codistill

    with OnSimulatedDevice():
        code = codistill(words)
    print(f"tensors made on the simulated device: {made}")
    return code or int(made == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
