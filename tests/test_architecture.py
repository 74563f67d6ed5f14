"""How the program is put together stays as docs/architecture.md says: who imports whom, and how large things are."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("commands", "kernels", "model_io", "trainer", "viewer")
ARROWS: Mapping[str, frozenset[str]] = {
    "model_io": frozenset(),
    "kernels": frozenset({"model_io"}),
    "viewer": frozenset({"model_io", "kernels"}),
    "trainer": frozenset({"model_io", "kernels"}),
    "commands": frozenset({"model_io", "kernels", "viewer", "trainer"}),
}
WINDOW = frozenset({"glfw", "moderngl", "imgui_bundle"})
OUTSIDERS: Mapping[str, frozenset[str]] = {
    "torch": frozenset({"trainer", "commands", "model_io/original", "kernels/measure"}),  # LPIPS is a torch model
    "tyro": frozenset({"commands"}),
    "rich": frozenset({"commands", "trainer/pipeline"}),
    "cupy": frozenset({"kernels/cuda", "trainer/ops"}),
    "av": frozenset({"viewer/recording"}),
    **dict.fromkeys(WINDOW, frozenset({"viewer"})),
}
"""Libraries that only some folders may import."""

LONGEST = 400
FULLEST = 16
CODE = (".py", ".cpp", ".h", ".cu", ".cuh")


class Import:
    """One import statement's target, as an absolute module name."""

    def __init__(self, file: Path, line: int, module: str, at_load: bool) -> None:
        self.file, self.line, self.module, self.at_load = file, line, module, at_load

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(root: Path, file: Path) -> Iterator[Import]:
    """What a file of a package imports; not what stands under ``if TYPE_CHECKING``."""
    package = ["kilonerf", *file.relative_to(root).with_suffix("").parts]
    package = package[:-1]  # of a module its folder's, of an __init__ its own
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(node)
    }
    where = file.relative_to(root)
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(where, node.lineno, name.name, id(node) not in inside)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield Import(where, node.lineno, f"{module}.{name.name}", id(node) not in inside)


def all_imports(root: Path) -> list[Import]:
    files = [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]
    return [found for file in files for found in imports_of(root, file)]


def wrong_arrows(root: Path) -> list[str]:
    """Imports between packages, or of libraries, that go against the tables above."""
    wrong = []
    for found in all_imports(root):
        top, *rest = found.module.split(".")
        own = found.file.parts[0]
        if top == "kilonerf":
            target = rest[0] if rest else own
            if target != own and target not in ARROWS[own]:
                wrong.append(str(found))
        elif top in OUTSIDERS and not any(found.file.as_posix().startswith(f"{home}/") for home in OUTSIDERS[top]):
            wrong.append(str(found))
    return wrong


def circles(root: Path) -> list[str]:
    """Circles among the modules' imports at load time."""
    modules = {}
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            modules[".".join(("kilonerf", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = file
    arrows: dict[str, set[str]] = {}
    for name, file in modules.items():
        targets = set()
        for found in imports_of(root, file):
            if not found.at_load:
                continue
            target = found.module if found.module in modules else found.module.rpartition(".")[0]
            # A package's own __init__ is loaded before its modules anyway.
            if target in modules and target != name and not name.startswith(f"{target}."):
                targets.add(target)
        arrows[name] = targets
    done: set[str] = set()
    found_circles = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found_circles.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(arrows[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in sorted(arrows):
        visit(name, [])
    return found_circles


def tracked(root: Path) -> list[Path]:
    told = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for line in told.splitlines() if (path := root / line).is_file()]


def too_large(files: list[Path]) -> list[str]:
    """Code files that are too long, and folders with too many of them."""
    code = [file for file in files if file.suffix in CODE]
    lines = {file: file.read_text().count("\n") for file in code}
    wrong = [f"{file}: {count} lines" for file, count in lines.items() if count > LONGEST]
    folders = Counter(file.parent for file in code)
    return wrong + [f"{folder}: {count} code files" for folder, count in folders.items() if count > FULLEST]


def wrong_includes(root: Path) -> list[str]:
    """C++ of one backend that includes another's, or shared headers that include either's."""
    wrong = []
    for home, foreign in (("cpu", ("cuda/",)), ("cuda", ("cpu/",)), ("native", ("cpu/", "cuda/"))):
        for file in (root / "kernels" / home).rglob("*"):
            if file.suffix in CODE and file.suffix != ".py":
                for line in file.read_text().splitlines():
                    if line.startswith("#include") and any(f'"{folder}' in line for folder in foreign):
                        wrong.append(f"{file}: {line}")
    return wrong


def test_imports_go_one_way() -> None:
    assert wrong_arrows(ROOT) == []


def test_nothing_imports_in_a_circle() -> None:
    assert circles(ROOT) == []


def test_backends_include_only_what_they_share() -> None:
    assert wrong_includes(ROOT) == []


def test_files_and_folders_stay_small() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: what else lies in the folder is nobody's business")
    assert too_large(tracked(ROOT)) == []


def test_every_package_is_typed_and_says_what_it_is_for() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file(), package
        for folder in {file.parent for file in (ROOT / package).rglob("*.py")}:
            assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_headless_commands_load_no_window() -> None:
    program = (
        "import sys, kilonerf.commands.render, kilonerf.commands.evaluate, kilonerf.commands.bench\n"
        "import kilonerf.commands.info, kilonerf.kernels, kilonerf.model_io, kilonerf.trainer, kilonerf.viewer\n"
        f"print(sorted({set(WINDOW) | {'torch', 'cupy'}} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model_io/a.py", "from kilonerf.kernels import Frame", "imports kilonerf.kernels.Frame"),
        ("kernels/cpu/a.py", "def f():\n    from kilonerf.viewer import app", "imports kilonerf.viewer.app"),
        ("viewer/a.py", "import kilonerf.commands.view", "imports kilonerf.commands.view"),
        ("viewer/b/a.py", "from ...trainer import x", "imports kilonerf.trainer.x"),
        ("kernels/a.py", "import torch", "imports torch"),
        ("trainer/a.py", "import tyro.conf", "imports tyro.conf"),
        ("commands/a.py", "from imgui_bundle import imgui", "imports imgui_bundle.imgui"),
    ],
)
def test_an_import_against_the_arrows_is_found(tmp_path: Path, file: str, text: str, said: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    (found,) = wrong_arrows(tmp_path)
    assert said in found
    (tmp_path / file).write_text(
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {text.splitlines()[-1].strip()}"
    )
    assert wrong_arrows(tmp_path) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    (tmp_path / "kernels" / "a.py").write_text("from .b import x")
    (tmp_path / "kernels" / "b.py").write_text("from . import c")
    (tmp_path / "kernels" / "c.py").write_text("def f():\n    from .a import y")
    assert circles(tmp_path) == []
    (tmp_path / "kernels" / "c.py").write_text("from .a import y")
    assert circles(tmp_path) == ["kilonerf.kernels.a -> kilonerf.kernels.b -> kilonerf.kernels.c -> kilonerf.kernels.a"]


def test_large_files_and_full_folders_are_found(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.py" for number in range(FULLEST + 1)]
    for file in files:
        file.touch()
    files[0].write_text("\n" * (LONGEST + 1))
    assert too_large(files) == [f"{files[0]}: {LONGEST + 1} lines", f"{tmp_path}: {FULLEST + 1} code files"]
    assert too_large(files[1:]) == []


def test_a_foreign_include_is_found(tmp_path: Path) -> None:
    (tmp_path / "kernels" / "native").mkdir(parents=True)
    (tmp_path / "kernels" / "native" / "a.h").write_text('#include "cpu/march/scene.h"\n')
    assert len(wrong_includes(tmp_path)) == 1
