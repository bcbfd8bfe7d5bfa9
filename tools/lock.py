"""``make lock``: pyproject.toml -> requirements.lock, environment.yml and binder/environment.yml.

One lock for every platform and every Python from 3.11 on: exact pins with markers, no addresses. A pin that still fits
pyproject.toml stays as it is; `make lock UPGRADE=1` takes the newest versions. The conda files hold the pins of what
the course needs to run (not of what its tests need), with PyTorch's CPU wheels.
"""

import subprocess
import sys

from tools import pins

HEADER = "# Made by `make lock` from pyproject.toml; change that, not this. Python 3.11+; Linux, macOS, Windows.\n"
CONDA_HEADER = """\
# Made by `make lock` from requirements.lock; change pyproject.toml, not this. CPU only.
name: xai-lessons
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - pip
  - pip:
      - --extra-index-url {index}
"""


def compile_pins(*options: str) -> list[str]:
    """What uv resolves pyproject.toml to."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--universal",
        "--python-version",
        "3.11",
    ]
    quiet = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet"]
    done = subprocess.run([*command, *quiet, *options], cwd=pins.ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return pins.read(done.stdout)


def conda(runtime: list[str]) -> str:
    """The text of the conda environment with these pins."""
    lines = (f'      - "{pin}"\n' for pin in runtime if not pins.cuda_only(pin))
    return CONDA_HEADER.format(index=pins.CPU_INDEX) + "".join(lines)


def main() -> None:
    """Write the three files."""
    # uv keeps the pins of the file that it writes to
    compile_pins("--extra", "dev", "--extra", "site", "--output-file", str(pins.LOCK), *sys.argv[1:])
    lock = pins.read(pins.LOCK.read_text(encoding="utf-8"))
    pins.LOCK.write_text(HEADER + "\n".join(lock) + "\n", encoding="utf-8")
    runtime = {pins.name(pin) for pin in compile_pins("--constraint", str(pins.LOCK))}
    environment = conda([pin for pin in lock if pins.name(pin) in runtime])
    for path in ("environment.yml", "binder/environment.yml"):
        (pins.ROOT / path).write_text(environment, encoding="utf-8")
        print("wrote", path)
    print("wrote", pins.LOCK.name)


if __name__ == "__main__":
    main()
