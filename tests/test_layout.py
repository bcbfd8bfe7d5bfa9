"""The rules of the house, read from the files: imports run one way, nothing heavy comes unasked."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "xai_lessons"

# Packages, from the bottom up: a module imports from its own row and from the rows above it. A package that is not
# named here fails.
ROWS = (
    "core",
    "data models",
    "methods",
    "training",
    "evaluation",
    "plots",
    "lessons",
    "results",
    "explorers",
    "command",
)
NAMED = {name: number for number, names in enumerate(ROWS) for name in names.split()} | {"__main__": len(ROWS) - 1}
LIGHT = ("core", "data", "models", "methods", "training", "evaluation")  # without torchvision, matplotlib, ipywidgets
HEAVY = ("torchvision", "matplotlib", "ipywidgets", "IPython", "skimage")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_notebooks" not in path.parts)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[tuple[str, str]]:
    """Each import of ours in a module: (module, name taken from it or "")."""
    here = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here.split(".")[: len(here.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            found += [(module, alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "xai_lessons"]


def top(module: str, name: str) -> str:
    """The module right below the package that an import reaches: ``cam``, ``explorers``; "" for the package itself."""
    parts = module.split(".")[1:] or ([name] if name else [])
    return parts[0] if parts and not parts[0].startswith("__v") else ""


def light() -> list[str]:
    """The modules that must come without torchvision, matplotlib and ipywidgets."""
    inside = [name for name in map(dotted, modules()) if name.split(".")[1:2] and name.split(".")[1] in LIGHT]
    return [name for name in inside if not name.endswith(("__main__", "worker"))]


def tracked() -> list[Path]:
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_run_one_way(path):
    own = dotted(path).split(".")[1] if dotted(path) != "xai_lessons" else ""
    if not own:
        assert imports(path) == [], "xai_lessons/__init__.py imports nothing of its own, so that it stays light"
        return
    for module, name in imports(path):
        other = top(module, name)
        if other and other != own:
            assert NAMED[other] <= NAMED[own], f"{dotted(path)} imports {other}, which stands above it"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_nobody_takes_anothers_privates(path):
    own = dotted(path).split(".")[1:2]
    taken = imports(path)
    for module, name in taken:
        if module.split(".")[1:2] != own:
            assert not re.match(r"_(?!_)", name), f"{dotted(path)} takes {module}.{name}"
    others = {name or module for module, name in taken if top(module, name) not in own}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in others:
            assert not re.match(r"_(?!_)", node.attr), f"{dotted(path)} uses {node.value.id}.{node.attr}"


def test_methods_know_nothing_of_pictures_and_widgets():
    for path in modules():
        if dotted(path) in light():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) (matplotlib|ipywidgets|IPython|anywidget)", text, re.MULTILINE), (
                path.name
            )


def test_importing_the_package_and_the_methods_loads_nothing_heavy():
    asked = f"import sys, xai_lessons; print([n for n in {HEAVY + ('torch', 'numpy')} if n in sys.modules])\n"
    asked += "".join(f"import {name}\n" for name in light())
    asked += f"print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stdout


def test_no_file_names_a_machine_or_a_registry():
    machine = re.compile(r"(?<![\w.~-])/(?:work|farm|root|opt|home/\w+|Users/\w+|tmp/\w+)/[\w./-]*")
    registries = ("py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.", r"debian\." + "org", r"anaconda\." + "org")
    hosts = re.compile("|".join(registries))
    for path in tracked():
        if path.suffix in {
            ".py",
            ".md",
            ".yml",
            ".yaml",
            ".toml",
            ".cfg",
            ".lock",
            ".txt",
            ".json",
            ".ipynb",
            ".js",
            "",
        }:
            text = path.read_text(encoding="utf-8", errors="replace")
            named = machine.findall(text) + hosts.findall(text)
            assert not named, f"{path.relative_to(ROOT)} names {named[:3]}"


def test_the_repository_stays_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert sum(sizes.values()) < 30e6
    assert not [str(path) for path, size in sizes.items() if size > 3e6]


def test_every_module_says_what_it_is_for():
    silent = [dotted(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not silent
