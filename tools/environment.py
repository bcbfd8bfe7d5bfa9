"""Make the environment that `make` works in: `.venv`, with what requirements.lock says. Plain Python, no dependency.

Done once; again only when the lock or pyproject.toml has changed, or the folder has moved.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import venv

from tools import pins

VENV = pins.ROOT / ".venv"
STAMP = VENV / "xai-lessons.stamp"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
NEEDED = 8  # GB, with CUDA; the CPU build needs 2


def stamp(cpu: bool) -> str:
    """What the present environment must have been made from."""
    content = b"".join((pins.ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))
    return f"{hashlib.sha256(content).hexdigest()} {'cpu' if cpu else 'default'} {pins.ROOT}"


def present(cpu: bool) -> bool:
    """Whether the environment is there and up to date; without ``cpu`` a CPU-only one is as good."""
    if not STAMP.exists() or not PYTHON.exists():
        return False
    return STAMP.read_text(encoding="utf-8") in {stamp(cpu), stamp(True)}


def make(cpu: bool) -> None:
    """Make it, from nothing or from what is there."""
    free = shutil.disk_usage(pins.ROOT).free / 1e9
    if free < (2 if cpu else NEEDED):
        said = f"only {free:.1f} GB are free here: CUDA's libraries need {NEEDED}, `make lab CPU=1` needs 2"
        print(said, file=sys.stderr)
    if not PYTHON.exists():
        try:
            venv.create(VENV, with_pip=True, clear=True)
        except subprocess.CalledProcessError:
            sys.exit("Python could not make a virtual environment: on Debian and Ubuntu, install python3-venv first")
    STAMP.unlink(missing_ok=True)
    lock = pins.read(pins.LOCK.read_text(encoding="utf-8"))
    if cpu:  # both of the pair from PyTorch's own index, and nothing of CUDA's
        pair = [pin for pin in lock if pins.name(pin) in pins.TORCH_PAIR]
        pip("--no-deps", "--index-url", pins.CPU_INDEX, *pair)
        lock = [pin for pin in lock if not pins.cuda_only(pin)]
    wanted = VENV / "requirements.txt"
    wanted.write_text("\n".join(lock) + "\n", encoding="utf-8")
    pip("--no-deps", "--requirement", str(wanted))  # the lock is complete: nothing is left to resolve
    pip("--no-deps", "--no-build-isolation", "--editable", str(pins.ROOT))
    STAMP.write_text(stamp(cpu), encoding="utf-8")


def pip(*options: str) -> None:
    """``pip install`` in the environment; its failure ends this, with pip's own message above."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if subprocess.run([str(PYTHON), "-m", "pip", "install", *quiet, *options], cwd=pins.ROOT, check=False).returncode:
        sys.exit(
            "the environment could not be made: see pip's message above; the same command goes on where it stopped"
        )


def main() -> None:
    """Make the environment if it is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="PyTorch's CPU wheels: no CUDA, some GB less")
    options = parser.parse_args()
    if not present(options.cpu):
        print("making the environment in .venv (once; some minutes) ...", flush=True)
        make(options.cpu)


if __name__ == "__main__":
    main()
