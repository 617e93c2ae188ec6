"""The pages that visitors read: their code runs and prints what they show, their links lead somewhere.

How a page marks its code is described in CONTRIBUTING.md, section "Documents".
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/extra-cot/extra-cot"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), *sorted(ROOT.glob("docs/**/*.md"))]
# Without what others wrote, and without the text that render.py puts into docs/results.
SKIPPED = {".venv", ".venv-gym", ".venv-verl", ".venv-vllm", "runs", "site"}
DOCUMENTS = [
    path
    for path in sorted(ROOT.glob("**/*.md"))
    if not SKIPPED & set(path.parts) and not path.is_relative_to(ROOT / "benchmarks/results")
]
# What a page may ask for with `<!-- provided: … -->`, and where the pipeline of conftest.py has it.
PROVIDED = {
    "checkpoints/base": "base",
    "checkpoints/sft": "sft",
    "checkpoints/chrpo": "chrpo",
    "problems.jsonl": "problems.jsonl",
    "traces.jsonl": "traces.jsonl",
    "compressed.jsonl": "compressed.jsonl",
    "prompts.jsonl": "prompts.jsonl",
    "runs/base": "run_base",
    "runs/sft": "run_sft",
}
VARIES = "<!-- numbers vary -->"
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block that runs, and the output that the page shows for it."""

    language: str
    code: str
    line: int
    shown: str | None
    varies: bool = False
    """The numbers of the output depend on the machine."""


def blocks(page):
    """The blocks of a page that run, in order."""
    text = page.read_text("utf-8")
    found = list(FENCE.finditer(text))
    for index, fence in enumerate(found):
        before = text[found[index - 1].end() if index else 0 : fence.start()]
        if fence["language"] not in {"python", "sh"} or re.search(r"<!-- not run: [^>]+ -->\s*\Z", before):
            continue
        after = found[index + 1] if index + 1 < len(found) else None
        between = text[fence.end() : after.start()].strip() if after else ""
        follows = after and after["language"] == "text" and between in {"", VARIES}
        shown = after["code"] if follows else None
        if fence["language"] == "python" or shown is not None:
            line = text.count("\n", 0, fence.start()) + 2
            yield Block(fence["language"], fence["code"], line, shown, between == VARIES)


def printed_by(block, names, page):
    """Standard output of a block; `names` is the namespace of the page's Python blocks."""
    if block.language == "sh":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COLUMNS": "120"}
        command = ["bash", "-euo", "pipefail", "-c", block.code]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        # Line numbers of an error are those of the page.
        exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
    return output.getvalue()


def pattern(shown, varies=False):
    """The output that a page shows; `…` is any text within a line, and a number that varies is any number."""
    lines = (line.rstrip() for line in shown.strip("\n").splitlines())
    exact = "\n".join(re.escape(line).replace("…", ".*") for line in lines)
    return re.sub(r"(?:(?:\\ )+)?(?:\\[-+]|−)?\d+(?:\\\.\d+)?", r" *[-+−]?\\d+(?:\\.\\d+)?", exact) if varies else exact


WITH_CODE = [page for page in PAGES if any(blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_prints_what_the_page_shows(page, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wanted in re.findall(r"<!-- provided: ([^>]+) -->", page.read_text("utf-8")):
        pipeline = request.getfixturevalue("pipeline")
        for name in wanted.split():
            source, target = pipeline / PROVIDED[name], tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    names = {"__name__": "page"}
    for block in blocks(page):
        printed = "\n".join(line.rstrip() for line in printed_by(block, names, page).strip("\n").splitlines())
        wanted = pattern(block.shown or "", block.varies)
        assert re.fullmatch(wanted, printed), f"{page}:{block.line} printed\n{printed}\nbut shows\n{block.shown}"


def test_a_block_runs_unless_it_is_marked_and_shell_only_with_its_output(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\npip install x\n```\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "<!-- not run: needs a server -->\n```python\nserver()\n```\n\n```sh\necho a b\n```\n\n```text\na …\n```\n"
    )
    found = list(blocks(page))
    assert [(block.language, block.shown) for block in found] == [("python", "1\n"), ("sh", "a …\n")]
    assert re.fullmatch(pattern(found[1].shown), printed_by(found[1], {}, page).strip())
    assert not re.fullmatch(pattern(found[0].shown), "2")
    assert re.fullmatch(pattern("loss   -3.25 of 7", varies=True), "loss +12.5 of 70")


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_into_this_repository_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8")))
    for target in targets:
        place, _, anchor = target.partition("#")
        inside = re.fullmatch(rf"{re.escape(REPOSITORY)}/(?:blob|tree|raw)/main/(.+)", place)
        if "://" in place and not inside:
            continue
        path = ROOT / inside[1] if inside else (page.parent / place if place else page)
        assert path.exists(), f"{page.relative_to(ROOT)}: nothing at {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.relative_to(ROOT)}: no heading for {target}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("packages/*/README.md")), ids=lambda page: page.parent.name)
def test_links_of_a_package_readme_work_on_the_package_index_too(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
        assert target.startswith(("#", "https://")), f"{target}: dead on the package index"


@pytest.mark.parametrize("page", sorted(ROOT.glob("packages/*/README.md")), ids=lambda page: page.parent.name)
def test_a_readme_installs_from_a_checkout_first_then_from_the_repository_and_the_index_last(page):
    text = page.read_text("utf-8")
    folder = page.parent.name
    checkout = text.index(f"pip install ./packages/{folder}")
    repository = text.index(f"git+{REPOSITORY}#subdirectory=packages/{folder}")
    assert checkout < repository
    assert "after the first release" in text[repository:].lower()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/tutorials/*.md")), ids=lambda page: page.stem)
def test_a_tutorial_installs_what_it_uses_and_has_a_folder_of_its_own(page):
    folders = {}
    for other in ROOT.glob("docs/tutorials/*.md"):
        text = other.read_text("utf-8")
        assert "pip install" in text, f"{other.name}: no install line"
        (folder,) = re.findall(r"^mkdir -p (\S+) && cd \1$", text, re.MULTILINE)
        folders.setdefault(folder, []).append(other)
    assert [page] in folders.values()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/how-to/*.md")), ids=lambda page: page.stem)
def test_a_how_to_page_names_what_to_install(page):
    assert "pip install" in page.read_text("utf-8")


def test_nothing_tells_people_to_install_another_project_that_is_called_math_eval():
    sources = [*DOCUMENTS, *ROOT.glob("packages/**/*.py"), *ROOT.glob("packages/*/pyproject.toml")]
    sources += [*ROOT.glob("examples/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    for path in sources:
        found = re.search(r"pip install\b[^\n]*(?<![\w/-])math-eval\b(?!\s*@)", path.read_text("utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_the_pages_of_results_are_what_the_recorded_results_give():
    script = ROOT / "benchmarks/render.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_file_expects_data_outside_the_repository():
    outside = "/".join(("..", "shared"))
    sources = [ROOT / "Makefile", *DOCUMENTS, *ROOT.glob("benchmarks/**/*.*"), *ROOT.glob("tests/*.py")]
    sources += [*ROOT.glob("examples/**/*.py"), *ROOT.glob("packages/**/*.py"), *ROOT.glob("tools/*.py")]
    for path in sources:
        if path.suffix != ".pyc":
            assert outside not in path.read_text("utf-8"), f"{path.relative_to(ROOT)}: data is in the folder DATA"


def test_the_readme_of_the_compressor_shows_the_recorded_shares():
    results = (ROOT / "docs/results/cot-compressor.md").read_text("utf-8")
    readme = (ROOT / "packages/cot-compressor/README.md").read_text("utf-8")
    methods = ("rules", "head", "tail", "drop-steps", "overlap", "at most")
    for group, shown in (("mathematics", "of mathematics"), ("general", "general traces")):
        table = re.split(rf"^{group}: \d+ traces on ", results, flags=re.MULTILINE)[1].split("\n\n")[1]
        rows = [re.split(r" *\| *", line)[1:-1] for line in table.splitlines()[2:]]
        recorded = {(ratio, method): [cell.split()[0] for cell in cells] for ratio, method, *cells in rows}
        (first,) = (at for at, line in enumerate(readme.splitlines()) if line.startswith("| ") and shown in line[:30])
        lines = readme.splitlines()[first : first + 6]
        for number, line in enumerate(lines):  # three ratios for the response, then three for the conclusion
            _, ratio, _, *shares = re.split(r" *\| *", line)[1:-1]
            wanted = [recorded[ratio, method][number // 3].removeprefix("0") for method in methods]
            assert shares == wanted, line
