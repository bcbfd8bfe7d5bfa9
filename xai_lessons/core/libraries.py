"""Other libraries' versions: a torchvision that does not match the installed torch, and ipywidgets 7 (Google Colab)."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def torchvision() -> ModuleType:
    """Import torchvision.

    Returns:
        The module.

    Raises:
        ImportError: in one sentence, if it is missing or was built for another torch.

    Example:
        >>> torchvision().__name__
        'torchvision'
    """
    try:
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:  # a CPU torch: "operator torchvision::nms does not exist"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportError(
            f"torchvision does not import beside this torch ({reason}): install both again, from one index"
        ) from error
    return torchvision


def widget_view(widget: Any) -> dict[str, Any]:
    """What tells a front end to show a widget; ipywidgets 8 makes it itself, ipywidgets 7 (Google Colab) does not.

    Args:
        widget: any widget of ipywidgets.

    Returns:
        A MIME bundle.

    Example:
        >>> import ipywidgets
        >>> [*widget_view(ipywidgets.IntSlider())]
        ['application/vnd.jupyter.widget-view+json']
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view}
