#!/usr/bin/env bash
# Runs everything that `make test` promises, on the servers it is given, and says which it used.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
$bin/pyright --pythonpath $bin/python
status=0
$bin/python -m pytest -n 2 "$@" || status=$?
echo "backends tested: memory, sqlite, postgres ($("$bin/python" - <<'P'
import asyncio, os
import asyncpg

async def version():
    connection = await asyncpg.connect(os.environ["WORKFLOW_POSTGRES_URL"])
    print(await connection.fetchval("select 'PostgreSQL ' || current_setting('server_version')"))
    await connection.close()

asyncio.run(version())
P
), fsync on)"
scripts/other_pythons.sh || status=$?
exit $status
