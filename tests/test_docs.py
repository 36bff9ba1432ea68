"""Every command in README and docs is run, and prints what the page says it prints.

A ``console`` block is typed into one workspace a page, from the top; a ``python`` block that names
its file is put there. Hashes, times and durations are not compared. To write the pages anew:

    WRITE_DOCS=1 .venv/bin/python -m pytest tests/test_docs.py
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "research" / "datasets" / "sp500-daily" / "1999-2018"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"console", "demo", "example", "json", "python", "sh", "text", "yaml", "csv", ""}


def type_in(command: str, folder: Path) -> str:
    """Type a command into a shell, as a reader would; return what appears."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout


def typed(block: str, folder: Path) -> str:
    """Run a console block's commands and return the block with what they print now."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{line}\n{type_in(line[2:], folder)}" for line in commands)


def demonstrated(block: str, transcript: str) -> str:
    """Return the end of the demo's transcript, from the block's first line on."""
    start = transcript.index(block.splitlines()[0])
    return transcript[start:].rstrip() + "\n"


def comparable(text: str) -> str:
    """Blot out what differs between two honest runs."""
    text = re.sub(r"\b[0-9a-f]{10,64}\b", lambda m: "x" * len(m[0]), text)
    text = re.sub(r"\d+\.\d\d s\b", "0.00 s", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2000-01-01 00:00", text)
    return re.sub(r"[\d.]+ [KM]?B\b", "0 KB", text)


@pytest.fixture(scope="module")
def transcript(tmp_path_factory):
    """Run the demo, in a folder of its own beside a copy of the shipped data."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "research").symlink_to(ROOT / "research")
    return type_in("sh docs/demo.sh", folder)


@pytest.fixture
def folder(page, tmp_path):
    """Stand where the page's reader stands: README's makes a workspace, the others' is in one."""
    if page.name != "README.md":
        type_in("ros init", tmp_path)
        shutil.copytree(SHIPPED, tmp_path / SHIPPED.relative_to(ROOT))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_prints_what_it_says(page, folder, transcript):
    old = page.read_text("utf-8")

    def renewed(match):
        language, block = match[1], match[2]
        if language == "console":
            block = typed(block, folder)
        elif language == "demo":
            block = demonstrated(block, transcript)
        elif language == "python" and (name := re.match(r"# (\S+\.py)\n", block)):
            (folder / name[1]).write_text(block)
        return f"```{language}\n{block}```"

    new = BLOCK.sub(renewed, old)
    if os.environ.get("WRITE_DOCS") == "1":
        page.write_text(new, "utf-8")

    assert comparable(new) == comparable(page.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_shows_no_command_that_is_not_run(page):
    text = page.read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    for language, block in BLOCK.findall(text):
        assert language in LANGUAGES, f"{page.name}: a block of {language!r} is never checked"
        if language == "sh":
            for line in block.splitlines():
                words = line.split("#")[0].split()
                assert words[:1] == ["make"], f"{page.name}: {line!r} is not run by any test"
                assert words[1] in targets


def test_demo_works_a_second_time(tmp_path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "research").symlink_to(ROOT / "research")

    first, second = (type_in("sh docs/demo.sh && echo DONE", tmp_path) for _ in range(2))

    assert first.endswith("DONE\n")
    assert second.endswith("DONE\n")
    assert len(re.findall(r"^[0-9a-f]{10} .*answered from the store$", second, re.MULTILINE)) == 3
    assert "identical" in second
    assert "error:" not in first + second


def test_links_of_pages_lead_somewhere():
    for page in [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links {target}"
