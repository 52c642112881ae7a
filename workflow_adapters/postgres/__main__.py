"""`python -m workflow_adapters.postgres sql` prints the migrations, for those who run their own."""

import argparse
import sys
from collections.abc import Sequence

from .migrations import CURRENT, script


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workflow_adapters.postgres", description="Tables of workflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    sql = commands.add_parser("sql", help="print the SQL that brings a schema to what this release needs")
    sql.add_argument("--schema", default="workflow", help="the schema that holds the tables (default: %(default)s)")
    sql.add_argument(
        "--after",
        type=int,
        default=0,
        choices=range(CURRENT + 1),
        metavar="NUMBER",
        help="the newest migration that was applied (default: 0, none)",
    )
    chosen = parser.parse_args(arguments)
    sys.stdout.write(script(chosen.schema, after=chosen.after))
    return 0


if __name__ == "__main__":
    sys.exit(main())
