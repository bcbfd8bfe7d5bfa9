"""What stands in deploy/ keeps its promises as far as they can be read off."""

import os
from pathlib import Path

import yaml
from traitlets.config import Config

from xai_lessons.command.kernels import MEMORY

ROOT = Path(__file__).resolve().parent.parent
HUB = ROOT / "deploy" / "jupyterhub"


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
    assert MEMORY.items() <= config.Spawner.environment.items()
    (script,) = config.Spawner.cmd
    assert os.access(script, os.X_OK) or os.name == "nt"
    text = Path(script).read_text(encoding="utf-8")
    assert text.index("umask 077") < text.index("lab --copy-only") < text.index("exec jupyterhub-singleuser")


def test_kubernetes_and_binder_have_the_same_settings(tmp_path, monkeypatch):
    config = read_config(tmp_path / "site.py", monkeypatch)
    values = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))
    assert values["hub"]["config"]["KubeSpawner"]["args"] == config.Spawner.args
    assert not values["cull"]["enabled"], "the hub's culler would end servers whose page is open"
    assert values["singleuser"]["defaultUrl"] == config.Spawner.default_url
    image = (ROOT / "deploy" / "kubernetes" / "Dockerfile").read_text(encoding="utf-8")
    assert all(f"{name}={value}" in image for name, value in config.Spawner.environment.items())
    assert f"singleuser.sh /usr/local/bin/{values['singleuser']['cmd']}" in image
    binder = (ROOT / "binder" / "start").read_text(encoding="utf-8")
    assert all(f"{name}={value}" in binder for name, value in MEMORY.items())
