"""The two kernels of the course: "XAI lessons (CPU)" and, with CUDA, "XAI lessons (GPU)"."""

from pathlib import Path

#: For glibc: one arena, and freed memory given back from 32 MB on. A limit of 128 kB saves 70 MB more, and costs a
#: third more CPU time (docs/class_of_forty.md).
MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432"}
KERNELS = {"cpu": ("xai-lessons-cpu", "XAI lessons (CPU)"), "cuda": ("xai-lessons-gpu", "XAI lessons (GPU)")}


def install(prefix: str | None = None, devices: tuple[str, ...] | None = None) -> dict[str, Path]:
    """Install the kernels for JupyterLab; each starts this Python with ``XAI_LESSONS_DEVICE`` set.

    Args:
        prefix: the environment to install into (``sys.prefix``); by default the user's own list of kernels.
        devices: some of ``"cpu"``, ``"cuda"``; by default the CPU and, if torch finds one, the CUDA device.

    Returns:
        Each kernel's display name and folder.

    Example:
        >>> import tempfile
        >>> list(install(prefix=tempfile.mkdtemp(), devices=("cpu",)))
        ['XAI lessons (CPU)']
    """
    from ipykernel.kernelspec import install as install_kernel

    if devices is None:
        import torch

        devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    installed = {}
    for device in devices:
        name, title = KERNELS[device]
        settings = {"XAI_LESSONS_DEVICE": device, **MEMORY}
        folder = install_kernel(user=prefix is None, prefix=prefix, kernel_name=name, display_name=title, env=settings)
        installed[title] = Path(folder)
    return installed
