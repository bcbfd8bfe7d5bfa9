"""The rules of the house, read from the files: imports run one way, nothing heavy comes unasked."""

import ast
import functools
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import xai_lessons

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "xai_lessons"

# Every package from the bottom up, and its modules: a module imports from its own row and from the rows above it.
# What is not named here fails.
ROWS: tuple[dict[str, str], ...] = (
    {"core": "activations files inputs libraries operations passes progress state"},
    {
        "data": """datasets interventions photos menagerie menagerie.__main__ menagerie.backgrounds menagerie.camera
            menagerie.canvas menagerie.elements menagerie.factors menagerie.geometry menagerie.palette
            menagerie.sampling menagerie.scene menagerie.sheets menagerie.objects menagerie.objects.bird
            menagerie.objects.car menagerie.objects.fish menagerie.objects.heads
            menagerie.objects.looks menagerie.objects.mammals menagerie.objects.mushroom menagerie.objects.sailboat
            menagerie.objects.umbrella menagerie.worker""",
        "models": "anatomy architectures classifier detector image_model imagenet registry store",
    },
    {
        "methods": """cam catalog detection fgsm guided inversion occlusion paths perturbation relevance saliency
            surrogates"""
    },
    {"training": "augmentation detection fit recipes scoring test_set"},
    {"evaluation": "compare faithfulness localization parts randomization sensitivity"},
    {"plots": "bars curves figures heatmap images text"},
    {
        "lessons": """checks checks.lesson1 checks.lesson2 checks.lesson3 checks.lesson4 checks.lesson5 checks.lesson6
            checks.lesson7 checks.lesson8 detective exercise quiz quizzes submission trust""",
        "results": """__main__ attacks attributions cams cheat cifar10 detection fills hiding histories inversion
            leaderboard mixtures pairs parts redrawn reference reference.figures reference.measure reference.tables
            repairs sensitivity""",
    },
    {
        "explorers": """cam candidates classification deletion detection detective eraser fgsm filters hardening
            inversion judging kit kit.base kit.browser kit.cache kit.controls kit.image_explorer kit.live_training
            kit.panels kit.script kit.upload kit.view kit.worker layers mistakes
            occlusion path robustness saliency sanity scores training"""
    },
    {"command": "app cli doctor kernels lab network_doctor student"},
)
NAMED = {name: number for number, row in enumerate(ROWS) for name in row} | {"__main__": len(ROWS) - 1}
LIGHT = ("core", "data", "models", "methods", "training", "evaluation")  # without torchvision, matplotlib, ipywidgets
HEAVY = ("torchvision", "matplotlib", "ipywidgets", "IPython", "skimage")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_notebooks" not in path.parts)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(parsed(path)))


@functools.cache
def imports(path: Path) -> list[tuple[str, str]]:
    """Each import of ours in a module: (module, name taken from it or "")."""
    here = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    found = []
    for node in nodes(path):
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


def own(path: Path) -> str:
    """The package right below ours that a module is in."""
    return ".".join(dotted(path).split(".")[1:2])


def test_every_module_is_named_with_its_layer():
    named = {f"xai_lessons.{package}" for row in ROWS for package in row} | {"xai_lessons", "xai_lessons.__main__"}
    named |= {
        f"xai_lessons.{package}.{module}" for row in ROWS for package, names in row.items() for module in names.split()
    }
    there = set(map(dotted, modules()))
    assert not there - named, "name each module in ROWS"
    assert not named - there, "named in ROWS, but gone"


def test_imports_run_one_way():
    assert imports(PACKAGE / "__init__.py") == [], "it stays light"
    upwards = [
        f"{dotted(path)} imports {other}"
        for path in modules()
        for other in {top(*each) for each in imports(path)} - {"", own(path)}
        if NAMED[other] > NAMED[own(path)]
    ]
    assert not upwards


def test_no_import_circle():
    """Counting the imports inside functions, too."""
    known = {dotted(path): path for path in modules()}

    def reached(module: str, name: str) -> str:
        full = f"{module}.{name}"
        return full if full in known else module

    graph = {name: {reached(*each) for each in imports(path)} - {name} for name, path in known.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a circle raises CycleError, which names it
    assert set(known) <= set(order)


def test_nobody_takes_anothers_privates():
    taken = []
    for path in modules():
        mine, found = own(path), imports(path)
        # a method is as far from another method as from another package
        foreign = [each for each in found if mine == "methods" or top(*each) != mine]
        taken += [f"{dotted(path)} takes {module}.{name}" for module, name in foreign if re.match(r"_(?!_)", name)]
        others = {name or module for module, name in foreign}
        for node in nodes(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in others:
                taken += [f"{dotted(path)} uses {node.value.id}.{node.attr}"] if re.match(r"_(?!_)", node.attr) else []
    assert not taken


def test_one_class_intercepts_torch_functions():
    kinds = [
        f"{dotted(path)}.{node.name}"
        for path in modules()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split(".")[-1] in ("TorchFunctionMode", "TorchDispatchMode") for base in node.bases)
    ]
    assert len(kinds) == 1, kinds
    assert kinds[0].startswith("xai_lessons.core.operations.")


def exported(package: str) -> list[tuple[str, object]]:
    """The functions and classes a package offers: what its ``__all__`` names, and those of its public modules."""
    home = importlib.import_module(f"xai_lessons.{package}")
    found = {}
    for name in getattr(home, "__all__", None) or [name for name in dir(home) if not name.startswith("_")]:
        value = getattr(home, name)
        inside = vars(value) if isinstance(value, types.ModuleType) else {name: value}
        for each, thing in inside.items():
            where = getattr(thing, "__module__", "") or ""
            ours = where.startswith(f"xai_lessons.{package}") and not each.startswith("_")
            if ours and (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__name__ == each:
                found[f"{where}.{each}"] = thing
    return sorted(found.items())


def lacking(name: str, thing: object, example: bool) -> list[str]:
    """The sections that a docstring should have and has not."""
    text = inspect.getdoc(thing) or ""
    missing = [] if text else [f"{name}: a docstring"]
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        taken = [each for each in signature.parameters if each not in ("self", "cls")]
        if taken and not re.search(r"^Args:$", text, re.MULTILINE):
            missing.append(f"{name}: Args")
        gives = taken and signature.return_annotation not in (None, "None", inspect.Signature.empty)
        if gives and not re.search(r"^(Returns|Yields):$", text, re.MULTILINE):
            missing.append(f"{name}: Returns")
    if example and ">>> " not in text:
        missing.append(f"{name}: Example")
    return missing


def test_what_is_offered_is_documented():
    missing = []
    for package in ("methods", "evaluation", "models", "data", "training", "plots"):
        for name, thing in exported(package):
            missing += lacking(name, thing, example=inspect.isfunction(thing))
            for each, method in vars(thing).items() if inspect.isclass(thing) else ():
                if inspect.isfunction(method) and not each.startswith("_") and each != "forward":
                    missing += lacking(f"{name}.{each}", method, example=False)
    assert not missing, "\n".join(missing)


def test_the_stub_and_the_package_agree():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    promised = {}
    for node in tree.body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            assert alias.asname == alias.name, f"{alias.name}: without `as` a stub's name is not public"
            home = f"xai_lessons.{node.module}" if node.module else "xai_lessons"
            promised[alias.name] = importlib.import_module(f"{home}.{alias.name}")
    assert sorted(xai_lessons.__all__) == sorted(promised)
    for name, module in promised.items():
        assert getattr(xai_lessons, name) is module
        if hasattr(module, "__all__"):
            assert all(hasattr(module, each) for each in module.__all__), name


def test_methods_know_nothing_of_pictures_and_widgets():
    names = light()
    for path in modules():
        if dotted(path) in names:
            text = path.read_text(encoding="utf-8")
            heavy = re.search(r"^\s*(import|from) (matplotlib|ipywidgets|IPython|anywidget)", text, re.MULTILINE)
            assert not heavy, path.name


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
    silent = [dotted(path) for path in modules() if not ast.get_docstring(parsed(path))]
    assert not silent


def test_every_module_that_is_mutated_has_its_tests():
    from tools import mutants

    assert all(mutants.tests_of(path) for path in mutants.modules())
