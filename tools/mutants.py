"""``make mutants``: small seeded mistakes in the methods and the evaluation, and whether the tests notice each.

Each mutant is one change (an operator, a comparison, a number, a condition, a call left out, two arguments swapped) in
a copy of the package; the tests of its module run on the copy. Ends with the survivors, one line each.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.pins import ROOT

FOLDERS = ("methods", "evaluation")
LINKED = ("weights", "__pycache__")  # large or worthless: not copied
EVERYWHERE = "tests/test_politeness.py"
TESTS = {  # where a module's tests are not called after it
    "catalog": ["test_politeness", "test_evaluation_compare", "test_explorers_judging"],
    "compare": ["test_evaluation", "test_evaluation_compare", "oracles/test_evaluation_oracles"],
    "faithfulness": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "localization": ["test_evaluation", "oracles/test_evaluation_oracles", "test_anatomy"],
    "perturbation": ["test_occlusion", "test_surrogates", "oracles/test_occlusion_oracles"],
    "relu_rules": ["test_saliency", "test_network_doctor", "oracles/test_saliency_oracles"],
}
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: ``before`` at these bytes of the file becomes ``after``."""

    path: Path
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        short = (" ".join(text.split())[:70] for text in (self.before, self.after))
        return f"{self.path.relative_to(ROOT)}:{self.line}: " + "  ->  ".join(f"`{text}`" for text in short)


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may stand where this one does, each with one mistake."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _with(node, ops=[SWAPPED[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Call):
        if len(node.args) > 1 and not any(isinstance(each, ast.Starred) for each in node.args[:2]):
            yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call | ast.BinOp | ast.Subscript):
            yield node.func.value  # x[0].relu() without relu


def nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The places of mistakes and what may stand there: no annotation, decorator, message or import among them."""
    if isinstance(tree, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) in ("warnings.warn", "TypeVar", "cast"):
        return
    yield from ((tree, other) for other in changed(tree) if ast.dump(other) != ast.dump(tree))
    if isinstance(tree, ast.If | ast.While) and ast.unparse(tree.test) != "TYPE_CHECKING":
        yield tree.test, ast.UnaryOp(ast.Not(), tree.test)
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Call):
        yield tree.value, ast.Constant(None)
    for name, value in ast.iter_fields(tree):
        if name not in ("annotation", "returns", "decorator_list", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from nodes(child)


def mutants(path: Path) -> list[Mutant]:
    """Every mutant of a module."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, other in nodes(ast.parse(source)):
        start, end = (starts[getattr(node, f"{e}lineno") - 1] + getattr(node, f"{e}col_offset") for e in ("", "end_"))
        after = ast.unparse(ast.fix_missing_locations(other))
        before = source[start:end].decode()
        found.append(Mutant(path, node.lineno, start, end, before, after if after == "None" else f"({after})"))
    return found


def tests_of(path: Path) -> list[list[str]]:
    """What pytest is given for a module: its own tests, then what holds for every method."""
    names = TESTS.get(path.stem) or [f"test_{path.stem}", f"oracles/test_{path.stem}_oracles"]
    own = [name for each in names if (ROOT / (name := f"tests/{each}.py")).exists()]
    functions = [node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    those = " or ".join(f"[{name}" for name in functions if not name.startswith("_"))
    return [own, [EVERYWHERE, "-k", those]] if path.parent.name == "methods" and those else [own]


def survives(mutant: Mutant | None, path: Path, limit: float) -> str:
    """Run the tests of ``path`` on a copy with the mutant: "" if all pass, else what noticed it."""
    with tempfile.TemporaryDirectory(prefix="mutant") as folder:
        home = Path(folder)
        for name in ("xai_lessons", "tests"):
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns(*LINKED))
        for found in (*ROOT.iterdir(), *(ROOT / "xai_lessons").rglob("weights")):
            link = home / found.relative_to(ROOT)
            if not link.exists() and found.name not in (".venv", ".git", "build"):
                link.symlink_to(found)
        if mutant:
            source = mutant.path.read_bytes()
            mutated = source[: mutant.start] + mutant.after.encode() + source[mutant.end :]
            (home / mutant.path.relative_to(ROOT)).write_bytes(mutated)
        for part in tests_of(path):
            command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider", *part]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "XAI_LESSONS_DEVICE": "cpu", "PYTHONPATH": folder}
            try:
                done = subprocess.run(
                    command, cwd=home, env=environment, timeout=limit, capture_output=True, text=True, check=False
                )
            except subprocess.TimeoutExpired:
                return f"no answer in {limit:.0f} s"
            if done.returncode not in (0, 5):  # 5: none of the tests for every method is for this module
                lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E   "))]
                return (lines or (done.stdout + done.stderr).splitlines()[-1:] or ["pytest could not start"])[0][:110]
    return ""


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def main() -> int:
    """Make them, try them, list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these modules, as cam or compare")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=180, help="seconds for the tests of one mutant")
    parser.add_argument("--least", type=float, default=0.9, help="the part that must be noticed")
    options = parser.parse_args()
    paths = [path for folder in FOLDERS for path in sorted((ROOT / "xai_lessons" / folder).glob("[a-z]*.py"))]
    paths = [path for path in paths if not options.modules or path.stem in options.modules]
    every = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"{len(chosen)} of {len(every)} mutants of {len(paths)} modules, seed {options.seed}", flush=True)
    survivors, began = [], time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        healthy = pool.map(lambda path: survives(None, path, options.limit), sorted({each.path for each in chosen}))
        for path, noticed in zip(sorted({each.path for each in chosen}), healthy, strict=True):
            if noticed:
                sys.exit(f"the tests of {path.name} fail without any mistake: {noticed}")
        for mutant, noticed in zip(
            chosen, pool.map(lambda each: survives(each, each.path, options.limit), chosen), strict=True
        ):
            print(f"{'killed  ' if noticed else 'SURVIVES'} {mutant}  {noticed}", flush=True)
            survivors += [] if noticed else [mutant]
    part = 1 - len(survivors) / len(chosen)
    print(f"\n{part:.0%} of {len(chosen)} mutants killed in {time.perf_counter() - began:.0f} s; survivors:")
    print("\n".join(map(str, survivors)) or "none")
    return int(part < options.least)


if __name__ == "__main__":
    sys.exit(main())
