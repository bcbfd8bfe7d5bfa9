"""What is installed here, and what to do about what is missing: the report of ``xai-lessons doctor``."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xai_lessons.core import libraries

GIGABYTE = 1e9
INDENT = "\n" + " " * 17


@dataclass(frozen=True)
class Finding:
    """One entry of the report.

    Attributes:
        subject: what was examined.
        found: what was found.
        advice: what to do; empty if all is well.
        fatal: whether the lessons cannot run until the advice is followed.
    """

    subject: str
    found: str
    advice: str = ""
    fatal: bool = False

    def __str__(self) -> str:
        mark = "ok" if not self.advice else "NO" if self.fatal else "--"
        return f"{mark}  {self.subject:<12} {self.found}" + f"{INDENT}-> {self.advice}" * bool(self.advice)


def examine() -> Iterator[Finding]:
    """Examine everything, one subject after the other; a check that fails becomes a finding.

    Example:
        >>> next(examine()).subject
        'Python'
    """
    for look in LOOKS:
        try:
            yield look()
        except Exception as error:
            subject = look.__name__.replace("_", " ")
            yield Finding(subject, f"could not be read: {error}", "install xai-lessons again")


def python() -> Finding:
    """Python's version and location."""
    advice = "" if sys.version_info >= (3, 11) else "the course needs Python 3.11 or later"
    return Finding("Python", f"{platform.python_version()} at {sys.executable}", advice, fatal=True)


def torch_found() -> Finding:
    """torch's version."""
    advice = 'the course was tested with torch 2.11 to 2.14: pip install "torch>=2.11,<2.15" "torchvision>=0.26,<0.30"'
    return _package("torch", "pip install torch torchvision", lambda version: (2, 11) <= version < (2, 15), advice)


def torchvision_found() -> Finding:
    """torchvision's version, and whether it matches this torch."""
    version = _version("torchvision")
    if version is None:
        return Finding("torchvision", "not installed", "pip install torchvision, for networks trained on photographs")
    try:
        libraries.torchvision()
    except ImportError as error:
        reason = str(error.__cause__).splitlines()[0]
        advice = "install both again, from one index: a CPU torch does not match the default torchvision"
        return Finding("torchvision", f"{version} does not import ({reason})", advice)
    return Finding("torchvision", version)


def device() -> Finding:
    """The device that the lessons use."""
    import torch

    wanted, cuda = os.environ.get("XAI_LESSONS_DEVICE"), torch.cuda.is_available()
    cpu = f"CPU, {os.cpu_count()} cores"
    if wanted == "cuda" and not cuda:
        found = "XAI_LESSONS_DEVICE=cuda, but torch finds no CUDA device"
        return Finding("device", found, "set it to cpu, or unset it", fatal=True)
    if wanted not in (None, "", "cpu", "cuda"):
        from xai_lessons.models.registry import choose_device

        try:
            choose_device(wanted)
        except ValueError as error:
            return Finding("device", f"XAI_LESSONS_DEVICE={wanted}: {error}", "set it to cpu or cuda", fatal=True)
        return Finding("device", f"{wanted} (and {cpu}), set by XAI_LESSONS_DEVICE")
    if cuda and wanted != "cpu":
        free, total = (amount / GIGABYTE for amount in torch.cuda.mem_get_info())
        return Finding("device", f"{torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GB free (and {cpu})")
    return Finding("device", cpu + (", set by XAI_LESSONS_DEVICE" if wanted else ", no CUDA: no lesson needs it"))


def kernel() -> Finding:
    """ipykernel's version."""
    install = 'pip install "ipykernel<7"'
    advice = f"{install}: from 7 on, sliders run beside cells and disturb each other"
    return _package("ipykernel", install, lambda version: version < (7,), advice)


def kernels() -> Finding:
    """The kernels that JupyterLab offers."""
    from jupyter_client.kernelspec import KernelSpecManager

    from xai_lessons.command.kernels import KERNELS

    offered = KernelSpecManager().get_all_specs()
    if not offered:
        return Finding("kernels", "none", "xai-lessons kernels", fatal=True)
    ours = any(name in offered for name, _ in KERNELS.values())
    advice = "" if ours else "only if you want to choose between CPU and GPU: xai-lessons kernels"
    return Finding("kernels", ", ".join(sorted(spec["spec"]["display_name"] for spec in offered.values())), advice)


def widgets() -> Finding:
    """The widgets' Python packages and their front ends in JupyterLab."""
    found, missing = [f"JupyterLab {_version('jupyterlab') or 'missing'}"], []
    for front, package in (("@jupyter-widgets/jupyterlab-manager", "ipywidgets"), ("anywidget", "anywidget")):
        version, shown = _version(package), _front_end(front)
        found.append(f"{package} {version or 'missing'} (front end {shown or 'missing'})")
        missing += [package] if version is None or shown is None else []
    advice = f"pip install --force-reinstall {' '.join(missing)}, then reload JupyterLab's page" if missing else ""
    return Finding("widgets", ", ".join(found), advice, fatal=True)


def lessons() -> Finding:
    """The notebooks."""
    from xai_lessons.command import lab

    folder = lab.lessons_folder()
    count = sum(name.endswith(".ipynb") for name in lab.lessons(folder))
    advice = "" if count else "install xai-lessons again"
    return Finding("lessons", f"{count} notebooks in {folder}", advice, fatal=True)


def networks() -> Finding:
    """The built-in networks, which need no download."""
    from xai_lessons.models import store

    names = store.built_in()
    advice = "" if names else "install xai-lessons again: its weights are missing"
    return Finding("built-in", f"{len(names)} networks: {', '.join(names)}", advice, fatal=True)


def cached_weights() -> Finding:
    """The available ImageNet networks: in the folder that `XAI_LESSONS_WEIGHTS` names, and downloaded before."""
    import torch

    from xai_lessons.models import imagenet

    try:
        given = imagenet.given_folder()
    except ValueError as error:
        return _refused("ImageNet", error)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = sorted(folder.glob("*.pth")) if folder.is_dir() else []
    names = [name for name in imagenet.NAMES if imagenet.given_file(name)]
    lines = [f"{', '.join(names) or 'no network of the lessons'} in {given} ({imagenet.FOLDER})"] if given else []
    lines.append(f"{len(files)} files, {sum(path.stat().st_size for path in files) / GIGABYTE:.2f} GB in {folder}")
    lines += [path.name for path in files[:6]] + [f"and {len(files) - 6} more"] * (len(files) > 6)
    advice = "" if files or names else "only for the parts on photographs, while online: xai-lessons prefetch"
    return Finding("ImageNet", INDENT.join(lines), advice)


def cifar10() -> Finding:
    """The images of CIFAR-10, which lesson 1 shows if they are available."""
    from xai_lessons.data import datasets

    try:
        folder = datasets.cifar10_folder()
    except ValueError as error:
        return _refused("CIFAR-10", error)
    advice = "" if folder else "only for its pictures in lesson 1, while online: xai-lessons prefetch cifar10"
    return Finding("CIFAR-10", f"in {folder}" if folder else "not here", advice)


def disk() -> Finding:
    """The free space where the lessons write."""
    free = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    return Finding("disk", f"{free:.1f} GB free here", "" if free > 2 else "free 2 GB before you download networks")


def memory() -> Finding:
    """The free memory."""
    import psutil

    free, total = (amount / GIGABYTE for amount in (psutil.virtual_memory().available, psutil.virtual_memory().total))
    advice = "" if free > 1.2 else "close other kernels: a lesson takes up to 1.2 GB (docs/memory.md)"
    return Finding("memory", f"{free:.1f} of {total:.1f} GB free", advice)


LOOKS: tuple[Callable[[], Finding], ...] = (
    *(python, torch_found, torchvision_found, device, kernel, kernels, widgets),
    *(lessons, networks, cached_weights, cifar10, disk, memory),
)


def _refused(subject: str, error: ValueError) -> Finding:
    """An error of the form "what is wrong: what to do" as a finding."""
    found, _, advice = str(error).partition(": ")
    return Finding(subject, found, advice)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str, install: str, fits: Callable[[tuple[int, ...]], bool], advice: str) -> Finding:
    """A package that the lessons cannot do without, and whether its version fits."""
    version = _version(name)
    if version is None:
        return Finding(name, "not installed", install, fatal=True)
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    return Finding(name, version, "" if fits(numbers) else advice)


def _front_end(name: str) -> str | None:
    """The version of a front-end extension of JupyterLab; None if it is not installed."""
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("labextensions"):
        package = Path(folder) / name / "package.json"
        if package.is_file():
            return str(json.loads(package.read_text(encoding="utf-8"))["version"])
    return None
