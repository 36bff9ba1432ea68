"""``ros doctor``: say what this machine can do."""

from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from research.context import Context
from research.errors import WorkspaceMissing
from research.experiments.doctor import Diagnosis, examine

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Say what this machine can do: the sandbox a run will have, the packages, the store.

    Exit status 1 if a run could not start here, or the store does not open. Nothing is re-hashed:
    that is ros fsck.
    """
    found = examine(_context())
    if as_json:
        render.emit(_document(found))
    else:
        _print(found)
    if not found.is_well:
        raise typer.Exit(exits.NO)


def _context() -> Context | None:
    """Return the workspace, if there is one; the machine can be looked at without."""
    try:
        return open_context()
    except WorkspaceMissing:
        return None


def _print(found: Diagnosis) -> None:
    asked = "" if found.wanted == "best" else f" (ros.toml asks for {found.wanted!r})"
    render.line(f"{render.paint('sandbox', 'bold')}  {found.level}{asked}")
    render.table(
        ["PART", "HERE", "WHY NOT"],
        [
            [
                f"  {each.name}",
                render.paint("yes", "green") if each.is_there else render.paint("no", "yellow"),
                each.reason,
            ]
            for each in found.parts
        ],
    )
    render.heading("Interpreter")
    render.pairs(found.interpreter)
    render.heading("Packages")
    render.pairs({name: text or "not installed" for name, text in found.packages.items()})
    render.heading("Compiled parts")
    render.pairs(
        {
            "engine": "numba" if found.has_numba else "as Python: pip install 'research-os[numba]'",
            "chunker": "native"
            if found.has_native_chunker
            else "as Python: long files are cut slowly; install pyfastcdc anew",
        }
    )
    render.heading("Store")
    if found.store is None:
        render.line("  none here: ros init makes one")
        return
    state = found.store.error or f"opens, {render.count(found.store.runs or 0, 'run')}"
    render.pairs({"path": found.store.path, "state": state})


def _document(found: Diagnosis) -> dict[str, Any]:
    store = found.store
    return {
        "ok": found.is_well,
        "sandbox": {
            "level": found.level,
            "wanted": found.wanted,
            "parts": [
                {"name": each.name, "here": each.is_there, "reason": each.reason}
                for each in found.parts
            ],
        },
        "interpreter": found.interpreter,
        "packages": found.packages,
        "compiled": {"numba": found.has_numba, "chunker": found.has_native_chunker},
        "store": None
        if store is None
        else {"path": store.path, "runs": store.runs, "error": store.error},
    }
