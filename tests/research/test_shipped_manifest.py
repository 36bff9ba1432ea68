"""The shipped data's manifest is in the tree, whatever a .gitignore here or above says."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = [
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "research" / "datasets").glob("*/*/*"))
]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="asks git")


def git(folder, *arguments):
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def ignored(folder, path):
    """Ask git; 0 is ignored, 1 is not, and anything else is no answer."""
    status = git(folder, "check-ignore", "--no-index", "-q", path).returncode
    assert status in (0, 1)
    return status == 0


def test_there_is_a_manifest_to_lose():
    assert any(path.endswith("/manifest.json") for path in SHIPPED)
    assert any(path.endswith("/bars.csv") for path in SHIPPED)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
@pytest.mark.parametrize("path", SHIPPED)
def test_it_is_not_ignored_but_tracked(path):
    assert not ignored(ROOT, path)
    assert git(ROOT, "ls-files", "--error-unmatch", path).returncode == 0


@pytest.mark.parametrize(
    "rules", ["manifest.json", "*.json\n*.csv\n*.txt", "**/datasets/**/*.json"]
)
def test_a_careless_rule_of_a_folder_above_does_not_lose_it(tmp_path, rules):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(rules + "\n")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / ".gitignore", checkout)
    for path in SHIPPED:
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).touch()
        (tmp_path / Path(path).name).touch()

    for path in SHIPPED:
        assert not ignored(tmp_path, f"checkout/{path}")
    assert ignored(tmp_path, "manifest.json") == ("datasets" not in rules)
