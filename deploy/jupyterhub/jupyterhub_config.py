"""JupyterHub for one class on one machine: `jupyterhub -f deploy/jupyterhub/jupyterhub_config.py`.

It listens on this machine only; put the site's HTTPS server in front, or change `bind_url`. Who may log in is the
site's decision: JupyterHub asks for an account of this machine (PAM), and lets in only whom the site allows. That, and
what the site wants otherwise, goes into the file that XAI_LESSONS_HUB names, which is read last.
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
c = get_config()  # noqa: F821 -- JupyterHub defines it

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.cleanup_servers = True

# Each student's server copies the lessons into the student's home, never over the student's own changes.
c.Spawner.cmd = [str(HERE / "singleuser.sh")]
c.Spawner.default_url = "/lab/tree/01_classification.ipynb"
c.Spawner.notebook_dir = "~/xai-lessons-notebooks"
c.Spawner.start_timeout = 120  # of forty servers that start at once
c.Spawner.http_timeout = 120

c.Spawner.environment = {
    "OMP_NUM_THREADS": "1",  # more threads than cores make every slider slow
    "XAI_LESSONS_DEVICE": "cpu",
    # one arena, and freed memory given back from 32 MB on: 55 MB less for each kernel, at no cost
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "33554432",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}
# A lesson's kernel takes up to 1.3 GB (docs/memory.md), its server 0.1 GB. JupyterHub only passes the limit on:
# the default spawner does not enforce it, systemdspawner and dockerspawner do.
c.Spawner.mem_limit = "2G"

# A kernel ends when nobody has been connected to it for an hour, and a server when it has had no kernel for an hour.
# A kernel with an open page is never ended.
c.Spawner.args = [
    "--MappingKernelManager.cull_connected=False",
    "--MappingKernelManager.cull_idle_timeout=3600",
    "--MappingKernelManager.cull_interval=300",
    "--ServerApp.shutdown_no_activity_timeout=3600",
]

if site := os.environ.get("XAI_LESSONS_HUB"):
    load_subconfig(str(Path(site).resolve()))  # noqa: F821 -- JupyterHub defines it
