"""Packages that are installed in place (``pip install -e``): whose they are, and their files.

Owns the way from a module to the folder that somebody works in. Such a package has no RECORD of its
files; what it holds today is what runs, so its files are hashed, and travel with the run.
"""

import ast
import json
import os
import site
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from research.context import packages_path

_PASSED_OVER: Final = frozenset({"__pycache__"})


def find_module(top: str) -> Path | None:
    """Return the file or folder of a top-level module that is installed in place."""
    if top in sys.stdlib_module_names:
        return None
    try:
        found = find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None or _is_installed(Path(found.origin)):
        return None
    origin = Path(found.origin)
    path = origin.parent if found.submodule_search_locations else origin
    return path if find_distribution(top) is not None else None


def find_distribution(top: str) -> Distribution | None:
    """Return the distribution installed in place that provides a top-level module."""
    for found in distributions(path=packages_path()):
        if is_in_place(found) and top in modules_of(found):
            return found
    return None


def is_in_place(found: Distribution) -> bool:
    """Tell whether a distribution is installed in place."""
    return _folder_of(found) is not None


def modules_of(found: Distribution) -> dict[str, Path]:
    """Return the top-level modules of a distribution installed in place, with their paths."""
    folder = _folder_of(found)
    if folder is None:
        return {}
    listed = set((found.read_text("top_level.txt") or "").split())
    modules: dict[str, Path] = {}
    base = Path(str(found.locate_file("")))
    for line in (found.read_text("RECORD") or "").splitlines():
        name = line.split(",", 1)[0]
        path = base / name
        if "/" in name or not path.is_file():
            continue
        if name.endswith(".pth"):
            for root in _folders_in(path.read_text("utf-8", "replace")):
                here = dict(_modules_in(root))
                modules.update({name: here[name] for name in here.keys() & (listed or here.keys())})
        elif name.startswith("__editable__") and name.endswith(".py"):
            modules.update(_mapped(path.read_text("utf-8", "replace")))
    return {name: each for name, each in modules.items() if each.is_relative_to(folder)}


def files_of(path: Path) -> list[Path]:
    """List the files of a module: itself, or all below its folder but byte code and hidden ones."""
    if path.is_file():
        return [path]
    return sorted(each for each in _walk(path) if each.suffix != ".pyc")


def _walk(folder: Path) -> Iterator[Path]:
    for each in folder.iterdir():
        if each.name.startswith(".") or each.name in _PASSED_OVER:
            continue
        if each.is_dir() and not each.is_symlink():
            yield from _walk(each)
        elif each.is_file():
            yield each


def _is_installed(origin: Path) -> bool:
    """Tell whether a file lies among the interpreter's own or the installed ones."""
    places = [*site.getsitepackages(), str(Path(os.__file__).parent)]
    return any(origin.is_relative_to(place) for place in places)


def _folder_of(found: Distribution) -> Path | None:
    """Return the folder that a distribution is installed from in place (PEP 610)."""
    text = found.read_text("direct_url.json")
    if text is None:
        return None
    try:
        described = json.loads(text)
        is_editable = described.get("dir_info", {}).get("editable", False)
        url = urlparse(described["url"])
    except (ValueError, LookupError, AttributeError):
        return None
    return Path(unquote(url.path)) if is_editable and url.scheme == "file" else None


def _folders_in(pth: str) -> Iterator[Path]:
    """List the folders that a ``.pth`` file adds to the path."""
    for line in pth.splitlines():
        path = Path(line.strip())
        if path.is_absolute() and path.is_dir():
            yield path


def _modules_in(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.iterdir()):
        if path.suffix == ".py" and path.stem.isidentifier():
            yield path.stem, path
        elif (path / "__init__.py").is_file():
            yield path.name, path


def _mapped(finder: str) -> dict[str, Path]:
    """Read the map of a setuptools finder: ``MAPPING = {"pkg": "/folder/pkg"}``."""
    for node in ast.walk(ast.parse(finder)):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="MAPPING")], value=ast.Dict() as value)
                | ast.AnnAssign(target=ast.Name(id="MAPPING"), value=ast.Dict() as value)
            ):
                named = {name: Path(path) for name, path in ast.literal_eval(value).items()}
                return {
                    name: path if path.is_dir() else path.with_suffix(".py")
                    for name, path in named.items()
                }
    return {}
