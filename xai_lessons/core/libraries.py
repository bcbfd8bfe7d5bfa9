"""torchvision, imported when it is first needed, with one sentence where it does not match the installed torch."""

from __future__ import annotations

from types import ModuleType


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
