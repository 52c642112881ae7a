#!/usr/bin/env bash
# Runs everything that `make test` promises, on servers of its own, and says which it used.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

if [ -z "${WORKFLOW_POSTGRES_URL:-}" ]; then
  # A set of its own, so that servers left running for development are neither used nor stopped.
  export WORKFLOW_SERVICES_STATE=/tmp/workflow-test-$$
  trap 'scripts/services.sh down' EXIT
  eval "$(scripts/services.sh up postgres pgbouncer)"
fi

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
exit $status
