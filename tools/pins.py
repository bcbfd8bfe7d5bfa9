"""The lock file, read: shared by the environment, the conda files and the tests that compare them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_PAIR = ("torch", "torchvision")


def read(text: str) -> list[str]:
    """The pins of a lock's text, one ``name==version [; marker]`` a line, comments and blank lines dropped."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def name(pin: str) -> str:
    """The distribution's name, normalized."""
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>!~;\[ ]", pin, maxsplit=1)[0]).lower()


def cuda_only(pin: str) -> bool:
    """Whether only the CUDA build of torch wants this distribution."""
    return name(pin) == "triton" or name(pin).startswith(("nvidia-", "cuda-"))
