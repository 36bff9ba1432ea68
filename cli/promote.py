"""``ros promote``: write a disabled config for a run, or verify one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import exits, render
from cli.context import open_context
from research.context import Context
from research.errors import BadInput
from research.promotion import promote as promoter
from research.promotion.promote import Promotion
from research.promotion.verify import Verified, verify_config

_VERDICT_STYLES = {"pass": "green", "warn": "yellow", "refuse": "red", "promoted": "green"}

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def promote(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="a completed run")] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="lower-case letters, digits, '_' and '-'")
    ] = None,
    config_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="[configs/strategies]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="ask every gate and show; write nothing")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="say whether a config is what was promoted"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Write configs/strategies/NAME.yaml: always disabled, EVAL_ONLY, in need of human approval.

    First the gates are asked, as promotion.toml has them: every object of the run is verified, the
    run is replayed, its luck is weighed. Exit status 1 if one refuses, or if the file that is
    verified is not what was promoted last.
    """
    context = open_context()
    if verify is not None:
        if run is not None or strategy is not None or config_dir is not None or dry_run:
            raise BadInput("--verify FILE stands alone: it compares a file with what was promoted")
        _verify(context, verify, as_json=as_json)
        return
    if run is None or strategy is None:
        raise BadInput("say which run and what to call it: ros promote RUN --strategy NAME")
    made = promoter.promote(
        context, context.store.resolve(run), strategy, config_dir=config_dir, dry_run=dry_run
    )
    if as_json:
        render.emit(_document(made))
    else:
        _print(made)
    if made.is_refused:
        raise typer.Exit(exits.NO)


def _document(made: Promotion) -> dict[str, Any]:
    return {
        "strategy": made.strategy,
        "path": str(made.path),
        "config": made.config,
        "evidence": made.evidence,
        "promotion": None if made.record is None else str(made.record),
        "refused": made.is_refused,
        "gates": [gate.to_fields() for gate in made.gates],
    }


def _print(made: Promotion) -> None:
    if made.is_refused:
        render.line(render.paint(f"would not write {render.location(made.path)}", "red"))
    else:
        verb = "would write" if made.record is None else "wrote"
        render.line(f"{verb} {render.location(made.path)}")
    if made.config is not None:
        shown: Mapping[str, Any] = made.config
        names = ("enabled", "mode", "requires_human_approval")
        render.pairs({name: shown[name] for name in names})
    render.heading("Gates")
    for gate in made.gates:
        verdict = render.paint(gate.verdict.ljust(7), _VERDICT_STYLES.get(gate.verdict, "dim"))
        render.hanging(f"  {verdict}  {gate.name.ljust(15)}  ", gate.explanation)
    if made.record is None and made.text:
        render.line()
        render.line(made.text.decode())


def _verify(context: Context, path: Path, *, as_json: bool) -> None:
    found = verify_config(context, path)
    if as_json:
        render.emit(_verified_document(path, found))
    else:
        _print_verified(path, found)
    if not found.is_promoted:
        raise typer.Exit(exits.NO)


def _verified_document(path: Path, found: Verified) -> dict[str, Any]:
    ids = {"promotion": found.promotion, "run": found.run_id, "current": found.current}
    return {
        "path": str(path),
        "verdict": found.verdict,
        "strategy": found.strategy,
        **{name: None if each is None else str(each) for name, each in ids.items()},
        "changes": [
            {
                "field": change.field,
                "promoted": change.promoted,
                "found": change.found,
                "safety": change.is_safety,
            }
            for change in found.changes
        ],
        "explanation": found.explanation or None,
    }


def _print_verified(path: Path, found: Verified) -> None:
    verdict = render.paint(found.verdict, _VERDICT_STYLES.get(found.verdict, "red"))
    said = f": {found.explanation}" if found.explanation else ""
    render.line(f"{render.location(path)}  {verdict}{said}")
    render.pairs(
        {
            "strategy": found.strategy,
            "run": None if found.run_id is None else render.short(found.run_id),
            "promotion": None if found.promotion is None else render.short(found.promotion),
        }
    )
    if found.changes:
        render.heading("Edited since")
        rows = [
            [
                render.paint(_brief(change.field), "red" if change.is_safety else ""),
                _brief(change.promoted),
                _brief(change.found),
            ]
            for change in found.changes
        ]
        render.table(["FIELD", "PROMOTED", "FOUND"], rows)


def _brief(value: Any) -> str:
    text = render.printable("null" if value is None else render.number(value))
    return text if len(text) <= 60 else text[:59] + "…"
