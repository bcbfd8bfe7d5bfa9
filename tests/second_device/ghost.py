"""A second device without a GPU: `import ghost`, and the device "ghost" exists, made of the CPU's memory.

Every operator of torch runs on it (forward, backward, autocast), and, like CUDA, it refuses what only the CPU allows: a
tensor of the CPU in the same operation (0-d tensors and indices excepted), `numpy()` without `cpu()`, a weight left
behind. With GHOST_FLOAT64=0 it refuses float64 as well, like Apple's mps.

The entry point `_setup_privateuseone_for_python_backend` is marked experimental by torch: importing this module raises
an ImportError where it is gone. A registered device stays for the whole process, so this is never imported by the
ordinary tests: ``make test-devices`` puts this folder on PYTHONPATH, and `sitecustomize` imports it.
"""

import os
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "ghost"
HAS_FLOAT64 = os.environ.get("GHOST_FLOAT64") != "0"
MAY_MIX = {
    *("aten::copy_", "aten::_to_copy", "aten::_copy_from", "aten::_copy_from_and_resize", "aten::set_.source_Storage"),
    *("aten::index", "aten::index_put_", "aten::_index_put_impl_"),
}

_setup_privateuseone_for_python_backend(NAME)
torch.ghost.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]


class GhostTensor(torch.Tensor):
    """A tensor that says it is on the second device; `raw` is where its numbers are."""

    @staticmethod
    def __new__(cls, raw):
        if raw.dtype == torch.float64 and not HAS_FLOAT64:
            raise TypeError(f"{NAME} has no float64, as Apple's mps has none: use float32")
        form = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, raw.size(), device=f"{NAME}:0", **form)
        made.raw = raw
        return made

    def __init__(self, raw):
        pass

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, *args, **(kwargs or {}))

    def __repr__(self):
        return f"ghost({self.raw!r})"

    def __format__(self, spec):
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def tolist(self):
        return self.raw.tolist()

    def numpy(self, *args, **kwargs):
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def new_tensor(self, data, **options):
        device = options.pop("device", None) or NAME
        return torch.Tensor.new_tensor(self.raw, data, **options).to(device)


def run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator on the CPU's memory, unless it mixes devices."""
    name = op._schema.name
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    foreign = any(not isinstance(t, GhostTensor) and t.dim() > 0 for t in tensors)
    if name not in MAY_MIX and foreign and any(isinstance(t, GhostTensor) for t in tensors):
        raise RuntimeError(f"{name}: expected all tensors on the same device, found {NAME} and cpu")
    device = kwargs.get("device")
    leaves = name == "aten::_to_copy" and device is not None and torch.device(device).type == "cpu"
    out = op(*tree_map(_raw, args), **tree_map(_raw, kwargs))
    if name.endswith("_") and isinstance(args[0], GhostTensor):
        return args[0]
    return out if leaves else tree_map(lambda r: GhostTensor(r) if isinstance(r, torch.Tensor) else r, out)


def _raw(value):
    if isinstance(value, GhostTensor):
        return value.raw
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _through_cpu(make):
    def made(*args, device=None, **kwargs):
        tensor = make(*args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


_library = torch.library.Library("_", "IMPL")
_library.fallback(run, "PrivateUse1")
_library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
torch.tensor, torch.as_tensor = _through_cpu(torch.tensor), _through_cpu(torch.as_tensor)
