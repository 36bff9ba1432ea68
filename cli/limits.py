"""The options by which a run is limited, as ``ros run`` and ``ros sweep`` have them."""

from typing import Annotated

import typer

Timeout = Annotated[str | None, typer.Option(metavar="TIME", help="fail after so long: 90, 5m, 1h")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="fail above so much: 500MB, 2GiB")]
