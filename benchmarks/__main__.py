"""`python -m benchmarks` prints the figures of the foundation, of a slider in Chromium, and the table of speed."""

import subprocess
import sys

for name in ("foundation", "slider_latency", "speed"):
    print(f"\n# {name}\n", flush=True)
    subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *(sys.argv[1:] if name == "speed" else ())], check=False
    )
