"""The command line: `nnqft run | plan | status | verify | compare | figures | report CONFIG`."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from nnqft.core.errors import DamageError, InputError

app = typer.Typer(
    help="Random neural networks as statistical field theories: reproducible parameter scans.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[Path, typer.Argument(help="scan file (YAML), e.g. config/hms.yaml")]
Extra = Annotated[list[str] | None, typer.Argument(help="after --: arguments for snakemake, e.g. -- --dry-run")]

Quick = Annotated[bool, typer.Option("--quick", help="read the commit marks only, not all data")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead (docs/commands.md)")]


@app.command()
def run(config: Config, extra: Extra = None) -> None:
    """Run a scan end to end; what is already there is kept."""
    from nnqft.cli.run import run_workflow

    raise typer.Exit(run_workflow(config, (), extra or ()))


@app.command()
def figures(config: Config, extra: Extra = None) -> None:
    """Draw the figures and write the tables (and whatever they need)."""
    from nnqft.cli.run import run_workflow

    raise typer.Exit(run_workflow(config, ("figures", "tables"), extra or ()))


@app.command()
def report(config: Config, extra: Extra = None) -> None:
    """Write the report (and whatever it needs)."""
    from nnqft.cli.run import run_workflow

    raise typer.Exit(run_workflow(config, ("report",), extra or ()))


@app.command()
def plan(config: Config, as_json: Json = False) -> None:
    """Validate a scan and say what it will cost; nothing is written."""
    from nnqft.cli.show import show_plan

    show_plan(config, as_json)


@app.command()
def status(config: Config, quick: Quick = False, as_json: Json = False) -> None:
    """Blocks done, missing and damaged for each (architecture, width), and the state of every stage."""
    from nnqft.cli.show import show_status

    show_status(config, quick, as_json)


@app.command()
def verify(config: Config, as_json: Json = False) -> None:
    """Re-read every chunk against its checksum and compare with theory; exit 1 with a list when anything fails."""
    from nnqft.cli.show import show_verification

    raise typer.Exit(show_verification(config, as_json))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="a result folder, e.g. results/hms")],
    b: Annotated[Path, typer.Argument(help="another one")],
    as_json: Json = False,
) -> None:
    """Say whether two result folders are bit-identical, equal within rounding, consistent, or different (exit 1)."""
    from nnqft.cli.show import show_comparison

    raise typer.Exit(show_comparison(a, b, as_json))


def main() -> None:
    """Entry point: bad input leaves with 2 and one message, a failed run with 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except InputError as error:
        typer.echo(f"nnqft: {error}", err=True)
        sys.exit(2)
    except (OSError, DamageError) as error:
        typer.echo(f"nnqft: {error}", err=True)
        sys.exit(1)
