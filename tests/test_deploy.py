"""What stands in deploy/ keeps its promises as far as they can be read off."""

import os
from pathlib import Path

from traitlets.config import Config

HUB = Path(__file__).resolve().parent.parent / "deploy" / "jupyterhub"


def read_config(site: Path, monkeypatch) -> Config:
    monkeypatch.setenv("XAI_LESSONS_HUB", str(site))
    config, loaded = Config(), []
    path = HUB / "jupyterhub_config.py"
    names = {"get_config": lambda: config, "load_subconfig": loaded.append, "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    assert loaded == [str(site)], "the site's own file is read last"
    return config


def test_the_hub_listens_here_only_and_never_ends_a_connected_kernel(tmp_path, monkeypatch):
    config = read_config(tmp_path / "site.py", monkeypatch)
    assert config.JupyterHub.bind_url.startswith("http://127.0.0.1:")
    assert "authenticator_class" not in config.JupyterHub, "who may log in is the site's decision"
    assert "--MappingKernelManager.cull_connected=False" in config.Spawner.args
    assert config.Spawner.environment["OMP_NUM_THREADS"] == "1"
    (script,) = config.Spawner.cmd
    assert os.access(script, os.X_OK) or os.name == "nt"
    text = Path(script).read_text(encoding="utf-8")
    assert text.index("umask 077") < text.index("lab --copy-only") < text.index("exec jupyterhub-singleuser")
