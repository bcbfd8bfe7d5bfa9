"""``make test-devices``: methods, explorers and notebooks on a second device made of the CPU's memory, without a GPU.

The device "ghost" (tests/second_device) refuses what CUDA refuses; once more, without notebooks, it refuses float64, as
Apple's mps does. Where torch no longer has the entry point that registers it, one sentence says so.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tools.pins import ROOT

FOLDER = ROOT / "tests" / "second_device"
NBVAL = "--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300"
WHAT = {"1": [*NBVAL.split(), "notebooks"], "0": ["-k", "method or metrics or refuses"]}


def environment(float64: str = "1") -> dict[str, str]:
    """The variables with which a Python process, and every kernel that it starts, has the second device."""
    path = os.pathsep.join([str(FOLDER), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"PYTHONPATH": path, "XAI_LESSONS_DEVICE": "ghost", "GHOST_FLOAT64": float64, "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours}


def main(arguments: list[str]) -> int:
    """Run the tests with these further arguments of pytest."""
    asked = [sys.executable, "-c", "import torch; torch.device('ghost')"]
    if subprocess.run(asked, env=environment(), capture_output=True, check=False).returncode:
        print("This torch no longer registers devices written in Python, so there is no second device to test on.")
        return 0
    status = 0
    for float64, more in WHAT.items():
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(FOLDER), *more]
        status |= subprocess.run(command, cwd=ROOT, env=environment(float64), check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
