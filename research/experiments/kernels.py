"""The compiled engine for runs: whether it is worth its start, and where it lies.

Owns the way from the engine that is installed here, which keeps what it has compiled beside itself,
to a run that brings the same engine with its code: the runner lays the compiled kernels beside it.
They are as fast, and no other in any bit, so no fingerprint knows of them.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import research
from research.context import Context
from rosdb import Kind, Link, Record, Store, id_of

WORTH_FROM: Final = 200_000
"""From so many bars on it is worth a second: as the engine itself has it."""

_ENGINE: Final = Path(research.__file__).parent / "simulation"
_COMPILE: Final = "from research.simulation.engine import compile_engine; compile_engine()"


def kernels_for(context: Context, recipe: Record, run_count: int = 1) -> list[Path]:
    """Return the files of the compiled engine for so many runs; none if it does not pay.

    Where they are not there yet and the bars are many, they are compiled on the way.
    """
    bars = recipe.links.get("bars")
    if bars is None or find_spec("numba") is None:
        return []
    bar_count = run_count * context.store.get_table(bars).rows
    if bar_count < WORTH_FROM or not _is_this_engine(context.store, recipe.links["code"]):
        return []
    from research.simulation import compiled

    kept = compiled.kept_files()
    if not kept and bar_count >= compiled.COLD_FROM:
        context.say("compiling the engine, once: it takes some twenty seconds")
        subprocess.run([sys.executable, "-c", _COMPILE], check=False, capture_output=True)
        kept = compiled.kept_files()
    return kept


def lay_beside(kernels: Sequence[Path], code: Path) -> None:
    """Copy kernels beside the engine of a code tree that is checked out."""
    folder = code / "research" / "simulation" / "__pycache__"
    for path in kernels:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / path.name)


def _is_this_engine(store: Store, code: Link) -> bool:
    """Tell whether a code tree has the engine that is installed here, file by file."""
    for name in ("research", "simulation"):
        entry = store.get_tree(code).get(name)
        if entry is None or entry.kind != "tree":
            return False
        code = entry.link
    found = {name: entry.link for name, entry in store.get_tree(code).items()}
    return "compiled.py" in found and all(
        (_ENGINE / name).is_file() and id_of(Kind.BLOB, (_ENGINE / name).read_bytes()) == link
        for name, link in found.items()
    )
