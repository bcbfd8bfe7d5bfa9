"""The two kernels of the course: "XAI lessons (CPU)" and, where CUDA is, "XAI lessons (GPU)"."""

from pathlib import Path

KERNELS = {"cpu": ("xai-lessons-cpu", "XAI lessons (CPU)"), "cuda": ("xai-lessons-gpu", "XAI lessons (GPU)")}


def install(prefix: str | None = None, devices: tuple[str, ...] | None = None) -> dict[str, Path]:
    """Install the kernels for JupyterLab; each starts this Python with ``XAI_LESSONS_DEVICE`` set.

    Args:
        prefix: the environment to install into (``sys.prefix``); None for the user's own list of kernels.
        devices: of ``"cpu"``, ``"cuda"``; None for the CPU and, where torch sees one, the CUDA device.

    Returns:
        Each kernel's display name and the folder it was written to.
    """
    from ipykernel.kernelspec import install as install_kernel

    if devices is None:
        import torch

        devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    installed = {}
    for device in devices:
        name, title = KERNELS[device]
        folder = install_kernel(
            user=prefix is None, prefix=prefix, kernel_name=name, display_name=title, env={"XAI_LESSONS_DEVICE": device}
        )
        installed[title] = Path(folder)
    return installed
