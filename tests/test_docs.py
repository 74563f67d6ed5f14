"""Documentation that can be checked: links, commands, words."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for folder in (ROOT, ROOT / "docs", ROOT / "examples", ROOT / "benchmarks", ROOT / "assets")
         for page in sorted(folder.glob("*.md"))]  # fmt: skip
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
ODD = re.compile(r"\bstands for\b|\brooms?\b(?! for)|\bnobody knows\b|\bso long a\b", re.IGNORECASE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md" and page.name not in index
    ] == []


def test_commands_in_the_readme_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    named = set(re.findall(r"\bkilonerf-[a-z]+\b", (ROOT / "README.md").read_text()))
    assert named <= set(scripts) | {"kilonerf-view"}
    assert set(scripts) <= named


def test_the_readme_begins_with_a_picture_a_sentence_and_two_commands() -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line]
    assert lines[1].startswith("![")
    assert lines[2].endswith(".")
    assert [line.split("#")[0].strip() for line in lines[4:6]] == ["make view", "make test"]


def test_modules_named_in_commands_exist() -> None:
    for page in PAGES:
        for module in re.findall(r"python -m ((?:benchmarks|kilonerf)[\w.]+)", page.read_text()):
            path = ROOT / module.removeprefix("kilonerf.").replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"{page.name}: {module}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_translated_idioms(page: Path) -> None:
    assert ODD.findall(page.read_text()) == []
