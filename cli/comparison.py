"""The options by which rows are compared, as ``ros diff`` and ``ros data diff`` have them."""

from typing import Annotated

import typer

Key = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="match rows by this column; may be several"),
]
Atol = Annotated[float, typer.Option(metavar="X", help="numbers so close count as equal")]
Rtol = Annotated[float, typer.Option(metavar="X", help="and so close, as a fraction of the larger")]
Rows = Annotated[
    int, typer.Option("--rows", min=1, metavar="N", help="show so many rows of each kind")
]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="exit status 1 if anything differs")]
