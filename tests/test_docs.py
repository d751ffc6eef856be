"""The documents: their links and paths exist, references to decisions resolve, and versions agree."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")]
)
DECISIONS = ROOT / "docs" / "decisions.md"
# Where references to decisions may stand, and in which files.
SOURCES = (
    "agentark",
    "params",
    "tests",
    "notebooks",
    "benchmarks",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "Snakefile",
)
SUFFIXES = {".py", ".yaml", ".ipynb", ".md", ".txt", ".html", ""}
NUMBER = r"\d+[a-z]?"
REFERENCE = re.compile(rf"\bDECISIONS ({NUMBER}(?:(?: ?[-–] ?|, | and |, and ){NUMBER}\b)*)")
TOP = ("agentark", "params", "notebooks", "benchmarks", "tests", "docs", "results/reference", "figures/reference")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def source_files() -> list[Path]:
    """Every text file of SOURCES, without the data of the zoo and without this file."""
    files = []
    for source in SOURCES:
        path = ROOT / source
        files += [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file() and f.suffix in SUFFIXES]
    return sorted(f for f in files if "__pycache__" not in f.parts and "zoo" not in f.parts and f != Path(__file__))


def references(content: str) -> list[str]:
    """The decisions that a text refers to, one by one; a range `1-5` stands for all of its numbers."""
    numbers = []
    for match in REFERENCE.finditer(content):
        for part in re.split(r", and | and |, ", match[1]):
            first, *last = re.split(r" ?[-–] ?", part)
            numbers += [str(n) for n in range(int(first), int(last[0]) + 1)] if last else [first]
    return numbers


def anchors(page: Path) -> set[str]:
    """Explicit anchors of a page, and those that GitHub gives its headings."""
    content = page.read_text(encoding="utf-8")
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", content, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    slugs = {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", h).lower()).replace(" ", "-") for h in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', content))


def links(content: str) -> list[str]:
    """Targets of relative links and images, code left out."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", content, flags=re.MULTILINE | re.DOTALL)
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", t)]


def tree(readme: str) -> list[str]:
    """Paths of the file tree in the README; an indented entry lies in the last folder that is not indented."""
    block = re.search(r"## The files\n+```\n(.*?)```", readme, re.DOTALL)[1]
    paths, folder = [], ""
    for line in block.splitlines():
        entry = line.split()[0]
        paths.append(folder + entry if line.startswith(" ") else entry)
        folder = folder if line.startswith(" ") else entry
    return paths


def test_references_are_read():
    assert references("(DECISIONS 8a), DECISIONS 27 and 30; DECISIONS 1-3.") == ["8a", "27", "30", "1", "2", "3"]
    assert references("DECISIONS 13: 4,183; DECISIONS 28): 100 items; DECISIONS 2, 4, and 5") == [
        "13",
        "28",
        "2",
        "4",
        "5",
    ]


@pytest.mark.parametrize("path", source_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_references_to_decisions_resolve(path):
    content = path.read_text(encoding="utf-8")
    entries = anchors(DECISIONS)
    missing = [number for number in references(content) if f"decision-{number}" not in entries]
    assert not missing, f"{path.relative_to(ROOT)} refers to decisions that docs/decisions.md does not have: {missing}"


def test_decisions_are_all_there():
    ids = [a.removeprefix("decision-") for a in re.findall(r'<a id="([^"]+)"></a>', DECISIONS.read_text())]
    assert len(ids) == len(set(ids))
    assert {int(re.match(r"\d+", i)[0]) for i in ids} == set(range(1, 37))
    for number in ids:
        assert f'<a id="decision-{number}"></a>\n**{number}.** ' in DECISIONS.read_text()


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    for target in links(text(page)):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(path), f"{page} links to {target}, but {path.name} has no such heading or anchor"


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_code_font_exist(page):
    if page == "CHANGELOG.md":  # names of the past stay
        return
    for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text(page)):
        if path.startswith(tuple(f"{top}/" for top in TOP)):
            assert (ROOT / path).exists(), f"{page} names {path}, which does not exist"


@pytest.mark.parametrize("path", tree(text("README.md")))
def test_the_file_tree_of_the_readme_is_true(path):
    assert (ROOT / path).exists(), f"README.md lists {path}, which does not exist"


def test_the_file_tree_of_the_readme_is_whole():
    listed = {path.split("/")[1] for path in tree(text("README.md")) if path.startswith("agentark/")}
    tracked = subprocess.run(["git", "ls-files", "agentark"], check=False, cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    present = {line.split("/")[1] for line in tracked.stdout.splitlines() if line.endswith(".py")}
    assert present - listed <= {"__init__.py"}, f"README.md does not list {sorted(present - listed - {'__init__.py'})}"


def test_the_readme_is_short_and_lists_every_notebook():
    readme = text("README.md")
    assert len(readme.splitlines()) <= 120
    for path in ROOT.glob("notebooks/*.ipynb"):
        assert f"({path.relative_to(ROOT).as_posix()})" in readme, f"README.md has no row for {path.name}"


def test_every_study_has_its_row():
    tiers = text("docs/tiers.md")
    for path in ROOT.glob("params/*.yaml"):
        if path.stem not in ("zoo", "claims"):
            assert f"\n| [{path.name}](../params/{path.name}) |" in tiers, f"docs/tiers.md has no row for {path.name}"


def test_the_readme_names_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.MULTILINE))
    pages = "\n".join(text(page) for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", pages, re.MULTILINE))
    assert named <= targets, f"the documents name make targets that do not exist: {sorted(named - targets)}"


def test_the_glossary_has_every_shape_letter():
    rows = set(re.findall(r"^\| ([A-Z]) \|", text("docs/glossary.md"), re.MULTILINE))
    used = set()
    for path in (ROOT / "agentark").rglob("*.py"):
        for name in re.findall(r"\b[a-z][a-z_]+_([A-Z][A-Z1]{0,3})\b", path.read_text(encoding="utf-8")):
            used |= set(name) - {"1"}
    assert used <= rows, f"docs/glossary.md does not explain {sorted(used - rows)}"


@pytest.mark.parametrize("path", source_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_refers_to_documents_outside_the_repository(path):
    outside = re.findall(
        r"\b(?:FACTS|DESIGN|NOTEBOOKS|STYLE)\.md|/work/\S*|\bshared/design\b", path.read_text(encoding="utf-8")
    )
    assert not outside, f"{path.relative_to(ROOT)} refers to {outside}, which readers do not have"


def test_versions_agree():
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == version
    assert f"## [{version}] - {citation['date-released']}" in text("CHANGELOG.md")
