"""Every method beside the libraries that a user would otherwise pick, and beside the passes it cannot avoid.

`python -m benchmarks.speed [--only NAME] [--repeat 5] [--threads 1]` prints a markdown table. Ours, the peers and the
floor are run in turn, again and again, and the shortest time of each counts: so other work disturbs all alike.
With one thread, processor time is taken instead of the clock's, so that other work hardly counts. Peers get the network
in PyTorch's default layout, as their users would pass it, in the best of several batch sizes. The floor is the bare
forward (and backward) passes of the method, channels last, frozen weights, in the best of several batch sizes.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import pkgutil
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import benchmarks


@dataclass
class Case:
    """One row of the table.

    Args:
        name: the method and its settings.
        ours: runs our method.
        peers: the same by other libraries, each at its best setting.
        floor: the bare passes, one entry a batch size; the fastest counts.
        fast: ours with fast=True, if it has that.
        many: whether it makes many passes, and so has to be 1.2 times faster than the peers on menagerie-resnet.
    """

    name: str
    ours: Callable[[], Tensor]
    peers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    floor: dict[int, Callable[[], Any]] = field(default_factory=dict)
    fast: Callable[[], Tensor] | None = None
    many: bool = True


def network(name: str) -> tuple[nn.Module, Tensor, int]:
    """A network, one picture for it and a class: "menagerie-resnet" at 96 pixels or "squeezenet" at 224."""
    from xai_lessons import models
    from xai_lessons.data import menagerie
    from xai_lessons.models import architectures

    half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    torch.manual_seed(0)
    if name == "squeezenet":
        import torchvision

        classes = tuple(map(str, range(1000)))
        model = models.wrap(torchvision.models.squeezenet1_0(weights=None), classes, input_size=224)
        return model, menagerie.draw("cat", seed=3, size=224).image, 7
    try:
        return models.load(name, device="cpu"), menagerie.draw("cat", seed=3).image, 0
    except (ValueError, FileNotFoundError):  # not trained yet: speed does not depend on the weights
        model = models.wrap(architectures.build("ResNet"), menagerie.CLASSES, half, quarter, 96)
        return model, menagerie.draw("cat", seed=3).image, 0


def plain(model: nn.Module) -> nn.Module:
    """A copy as a user of another library would have it: in eval mode, frozen, in PyTorch's default layout."""
    model = copy.deepcopy(model).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    model.layout = torch.contiguous_format
    return model


def bare(model: nn.Module, x: Tensor, passes: int, backward: bool = False) -> dict[int, Callable[[], None]]:
    """The floor: so many passes of a picture, for several batch sizes."""
    model = copy.deepcopy(model).eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def run(size: int) -> Callable[[], None]:
        batch = x.expand(size, -1, -1, -1).contiguous()  # the network arranges it after normalizing, which is faster

        def go() -> None:
            for start in range(0, passes, size):
                part = batch[: min(size, passes - start)].detach().requires_grad_(backward)
                with torch.set_grad_enabled(backward):
                    scores = model(part)
                if backward:
                    torch.autograd.grad(scores[:, 0].sum(), part)

        return go

    return {size: run(size) for size in (1, 8, 16, 32) if size <= passes and (passes == 1 or size > 1)}


def fastest(runs: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """The shortest time of each in milliseconds, run in turn."""
    times = {name: float("inf") for name in runs}
    for run in runs.values():
        run()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(repeat):
        for name, run in runs.items():
            start = clock()
            run()
            times[name] = min(times[name], 1000 * (clock() - start))
    return times


def row(case: Case, repeat: int) -> str:
    """Measure a case and write its line of the table."""
    runs: dict[str, Callable[[], Any]] = {"ours": case.ours, **case.peers}
    runs |= {f"floor {size}": run for size, run in case.floor.items()}
    if case.fast:
        runs["fast"] = case.fast
    times = fastest(runs, repeat if case.many else 40 * repeat)  # short ones are disturbed more easily
    ours, floor = times["ours"], min((t for name, t in times.items() if name.startswith("floor")), default=float("nan"))
    peers = {name: times[name] for name in case.peers}
    best = min(peers.values(), default=float("nan"))
    cells = [f"{ours:.1f}", ", ".join(f"{name} {t:.1f}" for name, t in peers.items()), f"{best / ours:.2f}"]
    cells += [f"{floor:.1f}", f"{ours / floor:.2f}"]
    if case.fast:
        exact, fast = case.ours(), case.fast()
        error = float((fast - exact).norm() / exact.norm())
        cells += [f"{times['fast']:.1f}", f"{best / times['fast']:.2f}", f"{error:.1%}"]
    else:
        cells += ["", "", ""]
    return (
        f"| {case.name} | "
        + " | ".join(cells)
        + f" | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} |"
    )


def labeled(makers: dict[str, Callable[..., Case]], name: str) -> dict[str, Callable[[], Case]]:
    """The cases of these methods of the catalog (or metrics, by their names) for a network, by their labels."""
    from xai_lessons.methods import catalog

    labels = {key: catalog.get(key).label if key in catalog.METHODS else key.replace("_", "-") for key in makers}
    return {labels[key]: lambda make=make, key=key: make(labels[key], *network(name)) for key, make in makers.items()}


HEAD = (
    "| method | ours, ms | peers, ms | fastest peer / ours | floor, ms | ours / floor | fast, ms |"
    " fastest peer / fast | error of fast | peak memory, MB |\n|---|---|---|---|---|---|---|---|---|---|"
)


def cases(name: str) -> dict[str, Callable[[], Case]]:
    """All cases for a network, from the modules benchmarks.cases_*."""
    found: dict[str, Callable[[], Case]] = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("cases_"):
            found |= importlib.import_module(f"benchmarks.{module.name}").cases(name)
    return found


def main() -> None:
    """Print the table: each case in a process of its own, so that its peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=["menagerie-resnet", "squeezenet"])
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.network or ["menagerie-resnet", "squeezenet"]
    if options.here:
        print(row(cases(names[0])[options.here](), options.repeat), flush=True)
        return
    for name in names:
        print(
            f"\n### {name}, {options.threads} thread{'s' * (options.threads > 1)}, torch {torch.__version__}\n\n{HEAD}",
            flush=True,
        )
        for case in cases(name):
            if not options.only or options.only in case:
                command = [sys.executable, "-m", "benchmarks.speed", "--network", name, "--here", case]
                command += ["--repeat", str(options.repeat), "--threads", str(options.threads)]
                subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(options.threads)})


if __name__ == "__main__":
    main()
