"""What is here, and what to do about what is not: the facts behind ``xai-lessons doctor``, one screen of them."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: a subject, what was found, and what to do (empty if all is well)."""

    subject: str
    found: str
    advice: str = ""
    fatal: bool = False  # the lessons cannot run before the advice is followed

    def __str__(self) -> str:
        """The line as it is printed."""
        mark = "ok" if not self.advice else "NO" if self.fatal else "--"
        line = f"{mark}  {self.subject:<12} {self.found}"
        return f"{line}\n{'':17}-> {self.advice}" if self.advice else line


def examine() -> Iterator[Finding]:
    """Look at everything, one subject after the other; a look that itself fails becomes a finding."""
    for look in LOOKS:
        try:
            yield look()
        except Exception as error:
            subject = look.__name__.replace("_", " ")
            yield Finding(subject, f"could not be read: {error}", "install xai-lessons again")


def python() -> Finding:
    """Python's version and where it is."""
    advice = "" if sys.version_info >= (3, 11) else "the course needs Python 3.11 or later"
    return Finding("Python", f"{platform.python_version()} at {sys.executable}", advice, fatal=True)


def torch_found() -> Finding:
    """torch's version."""
    version = _version("torch")
    if version is None:
        return Finding("torch", "not installed", "pip install torch torchvision", fatal=True)
    old = _numbers(version) < (2, 11)
    return Finding("torch", version, "too old: pip install -U torch torchvision" if old else "")


def torchvision_found() -> Finding:
    """torchvision's version, and whether it belongs to this torch."""
    version = _version("torchvision")
    if version is None:
        return Finding("torchvision", "not installed", "pip install torchvision, for networks trained on photographs")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:  # torchvision::nms does not exist
        advice = "install both again, from one index: a CPU torch does not fit the default torchvision"
        return Finding("torchvision", f"{version} does not import ({str(error).splitlines()[0]})", advice)
    return Finding("torchvision", version)


def device() -> Finding:
    """The device on which the lessons compute."""
    import torch

    wanted = os.environ.get("XAI_LESSONS_DEVICE")
    cuda = torch.cuda.is_available()
    threads = f"CPU, {os.cpu_count()} cores"
    if wanted == "cuda" and not cuda:
        return Finding(
            "device", "XAI_LESSONS_DEVICE=cuda, but torch sees no CUDA", "set it to cpu, or unset it", fatal=True
        )
    if wanted not in (None, "", "cpu", "cuda"):
        return Finding("device", f"XAI_LESSONS_DEVICE={wanted} is not known", "set it to cpu or cuda", fatal=True)
    if cuda and wanted != "cpu":
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("device", f"{name}, {free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free (and {threads})")
    return Finding("device", threads + (", as XAI_LESSONS_DEVICE wants" if wanted else ", no CUDA: no lesson needs it"))


def kernel() -> Finding:
    """ipykernel's version."""
    version = _version("ipykernel")
    if version is None:
        return Finding("ipykernel", "not installed", 'pip install "ipykernel<7"', fatal=True)
    new = _numbers(version) >= (7,)
    advice = 'pip install "ipykernel<7": from 7 on, sliders run beside cells and disturb each other' if new else ""
    return Finding("ipykernel", version, advice)


def kernels() -> Finding:
    """The kernels that JupyterLab will offer."""
    from jupyter_client.kernelspec import KernelSpecManager

    from xai_lessons.command.kernels import KERNELS

    offered = KernelSpecManager().get_all_specs()
    ours = [title for name, title in KERNELS.values() if name in offered]
    if not offered:
        return Finding("kernels", "none", "xai-lessons kernels", fatal=True)
    advice = "" if ours else "only if you want to choose between CPU and GPU: xai-lessons kernels"
    return Finding("kernels", ", ".join(sorted(spec["spec"]["display_name"] for spec in offered.values())), advice)


def widgets() -> Finding:
    """The widgets' Python side and their front ends in JupyterLab."""
    fronts = {"@jupyter-widgets/jupyterlab-manager": "ipywidgets", "anywidget": "anywidget"}
    said, missing = [], []
    for front, package in fronts.items():
        version, shown = _version(package), _front_end(front)
        said.append(f"{package} {version or 'missing'} (front end {shown or 'missing'})")
        if version is None or shown is None:
            missing.append(package)
    advice = f"pip install --force-reinstall {' '.join(missing)}, then reload JupyterLab's page" if missing else ""
    said.insert(0, f"JupyterLab {_version('jupyterlab') or 'missing'}")
    return Finding("widgets", ", ".join(said), advice, fatal=True)


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
    """The ImageNet networks at hand: in the folder that `XAI_LESSONS_WEIGHTS` names, and downloaded before."""
    import torch

    from xai_lessons.models import imagenet

    try:
        given = imagenet.given_folder()
    except ValueError as error:
        said, _, advice = str(error).partition(": ")
        return Finding("ImageNet", said, advice)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = sorted(folder.glob("*.pth")) if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files) / GIGABYTE
    lines = [f"{len(files)} files, {size:.2f} GB in {folder}", *(path.name for path in files[:6])]
    if len(files) > 6:
        lines.append(f"and {len(files) - 6} more")
    if given is not None:
        names = [name for name in imagenet.NAMES if imagenet.given_file(name)]
        lines.insert(0, f"{', '.join(names) or 'no network of the lessons'} in {given} ({imagenet.FOLDER})")
    at_hand = files or (given is not None and names)
    advice = "" if at_hand else "only for the parts on photographs, while there is a network: xai-lessons prefetch"
    return Finding("ImageNet", f"\n{'':17}".join(lines), advice)


def cifar10() -> Finding:
    """The pictures of CIFAR-10, which lesson 1 shows where they are."""
    from xai_lessons.data import datasets

    try:
        folder = datasets.cifar10_at_hand()
    except ValueError as error:
        said, _, advice = str(error).partition(": ")
        return Finding("CIFAR-10", said, advice)
    advice = "" if folder else "only for its pictures in lesson 1, while online: xai-lessons prefetch cifar10"
    return Finding("CIFAR-10", f"in {folder}" if folder else "not here", advice)


def disk() -> Finding:
    """The space left where the lessons write."""
    free = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    return Finding("disk", f"{free:.1f} GB free here", "" if free > 2 else "free 2 GB before you download networks")


def memory() -> Finding:
    """The memory left."""
    import psutil

    free, total = (amount / GIGABYTE for amount in (psutil.virtual_memory().available, psutil.virtual_memory().total))
    return Finding(
        "memory",
        f"{free:.1f} of {total:.1f} GB free",
        "" if free > 1 else "close other kernels: a lesson takes some 0.7 GB",
    )


LOOKS: tuple[Callable[[], Finding], ...] = (
    python,
    torch_found,
    torchvision_found,
    device,
    kernel,
    kernels,
    widgets,
    lessons,
    networks,
    cached_weights,
    cifar10,
    disk,
    memory,
)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())


def _front_end(name: str) -> str | None:
    """The version of a front-end extension of JupyterLab, None if it is not installed."""
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("labextensions"):
        package = Path(folder) / name / "package.json"
        if package.is_file():
            return str(json.loads(package.read_text(encoding="utf-8"))["version"])
    return None
