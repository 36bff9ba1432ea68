"""The page: tables as text or Markdown, and their place in ``docs/benchmarks.md``.

Owns how a result looks and where it is written; knows nothing of what was measured.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
NOTHING: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table of texts."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: float | None, *, digits: int = 3) -> str:
    """Write a number to some significant digits, without an exponent; a dash for None."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole:
        return f"{value:,.{max(0, digits - whole)}f}"
    return f"{value:#.{digits}g}" if abs(value) >= 1e-3 else f"{value:.4f}"


def rendered(lines: Sequence[str], tables: Sequence[Table], *, as_markdown: bool) -> str:
    """Return some lines and the tables as one text."""
    parts = ["\n".join(f"- {line}" if as_markdown else line for line in lines)]
    parts += [_markdown(table) if as_markdown else _plain(table) for table in tables]
    return "\n\n".join(parts) + "\n"


def publish(
    section: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    *,
    as_markdown: bool,
    into_docs: bool,
) -> None:
    """Print a result, and put it in its place in the docs if asked to."""
    print(rendered(lines, tables, as_markdown=as_markdown), end="")
    if into_docs:
        old = DOCS.read_text("utf-8")
        DOCS.write_text(filled(old, section, rendered(lines, tables, as_markdown=True)), "utf-8")


def filled(page: str, section: str, text: str) -> str:
    r"""Return a page with a text between the two marks of a section.

    >>> filled("<!-- bench:api -->old<!-- /bench:api -->", "api", "new")
    '<!-- bench:api -->\n\nnew\n<!-- /bench:api -->'
    """
    opening, closing = f"<!-- bench:{section} -->", f"<!-- /bench:{section} -->"
    between = re.compile(f"{re.escape(opening)}.*{re.escape(closing)}", re.DOTALL)
    new, count = between.subn(lambda _: f"{opening}\n\n{text}\n{closing}", page)
    assert count == 1, f"the page has {count} places for {section}"
    return new


def _plain(table: Table) -> str:
    columns = []
    for cells, is_figures in zip(_columns(table), _figures(table), strict=True):
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if is_figures else cell.ljust(width) for cell in cells])
    lines = [f"  {'  '.join(row)}".rstrip() for row in zip(*columns, strict=True)]
    return "\n".join([table.title, *lines])


def _markdown(table: Table) -> str:
    header = f"| {' | '.join(table.header)} |"
    marks = "|".join("---:" if is_figures else "---" for is_figures in _figures(table))
    rows = [f"| {' | '.join(row)} |" for row in table.rows]
    return "\n".join([f"**{table.title}**", "", header, f"|{marks}|", *rows])


def _columns(table: Table) -> list[tuple[str, ...]]:
    return list(zip(table.header, *table.rows, strict=True))


def _figures(table: Table) -> list[bool]:
    """Tell which columns hold figures only, and are set flush right."""
    return [
        all(cell[:1].isdigit() or cell[:1] in ("-", NOTHING) for cell in cells)
        for _, *cells in _columns(table)
    ]
