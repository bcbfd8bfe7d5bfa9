"""``make test-gpu``: every method on CUDA against the CPU, then the notebooks on the GPU kernel against their outputs.

Without CUDA it says so in one sentence and ends well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tools.pins import ROOT

LIMITS = {torch.float32: 1e-3, torch.float64: 1e-9}


class Row(NamedTuple):
    """One method in one precision: how far CUDA is from the CPU, and both times in milliseconds."""

    method: str
    dtype: torch.dtype
    deviation: float
    cpu: float
    cuda: float

    @property
    def holds(self) -> bool:
        """Whether the deviation keeps within its limit."""
        return self.deviation <= LIMITS[self.dtype]


def tensors(result: Any) -> list[Tensor]:
    """All tensors of floats in what a method returned."""
    if isinstance(result, Tensor):
        return [result.detach().cpu().double()] if result.is_floating_point() else []
    return [t for part in result for t in tensors(part)] if isinstance(result, tuple | list) else []


def deviation(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest value of the reference."""
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs), default=0.0)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the milliseconds of a second call: the first one warms up."""
    call()
    torch.cuda.synchronize()
    began = time.perf_counter()
    result = call()
    torch.cuda.synchronize()
    return result, (time.perf_counter() - began) * 1e3


def methods() -> list[Row]:
    """Every method of the registry on a built-in network, on both devices, in both precisions."""
    sys.path.insert(0, str(ROOT / "tests"))
    from methods import METHODS
    from xai_lessons import models
    from xai_lessons.data import menagerie

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    images = torch.stack([menagerie.draw(name, seed=5).image for name in ("cat", "umbrella", "car")])
    rows = []
    for dtype in LIMITS:
        here, there = (models.load("menagerie-resnet", device=d).to(dtype) for d in ("cpu", "cuda"))
        for name, method in METHODS.items():
            x = images.to(dtype)
            theirs, cpu = timed(lambda method=method, x=x, model=here: method(model, x, 3))
            ours, cuda = timed(lambda method=method, x=x, model=there: method(model, x, 3))
            rows.append(Row(name, dtype, deviation(ours, theirs), cpu, cuda))
    return rows


def notebooks() -> int:
    """The lessons under nbval on the GPU kernel; pytest's exit status."""
    from xai_lessons.command import kernels

    with tempfile.TemporaryDirectory() as prefix:
        kernels.install(prefix, devices=("cuda",))
        command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-kernel-name", kernels.KERNELS["cuda"][0]]
        command += ["--nbval-sanitize-with", "tests/nbval_sanitize.cfg", "--nbval-cell-timeout", "300", "notebooks"]
        environment = os.environ | {
            "JUPYTER_PATH": str(Path(prefix) / "share" / "jupyter"),
            "NVIDIA_TF32_OVERRIDE": "0",
        }
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Compare, print the table, run the notebooks."""
    if not torch.cuda.is_available():
        print("torch sees no CUDA device here, so there is nothing to compare with the CPU.")
        return 0
    rows = methods()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, TF32 off\n")
    print("| method | precision | largest relative deviation | CPU ms | CUDA ms |\n|---|---|---|---|---|")
    for row in rows:
        mark = "" if row.holds else " **over the limit**"
        print(
            f"| {row.method} | {str(row.dtype).removeprefix('torch.')} | {row.deviation:.1e}{mark} "
            f"| {row.cpu:.1f} | {row.cuda:.1f} |"
        )
    status = notebooks()
    return status or int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
