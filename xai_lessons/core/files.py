"""Writing files completely or not at all."""

import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, through a file next to it that is never opened through a link.

    Args:
        path: the file; an existing one is replaced.
        content: its bytes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "some.txt", b"all of it")
        ...     (Path(folder) / "some.txt").read_text()
        'all of it'
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # refuses a link that somebody put there
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
