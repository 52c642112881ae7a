#!/usr/bin/env bash
# Runs a command with throw-away servers of its own, or with those that WORKFLOW_POSTGRES_URL names.
set -euo pipefail
if [ -z "${WORKFLOW_POSTGRES_URL:-}" ]; then
  # A set of its own, so that servers left running for development are neither used nor stopped.
  WORKFLOW_SERVICES_STATE=$(mktemp -d /tmp/workflow-servers-XXXXXX)
  export WORKFLOW_SERVICES_STATE
  services=$(cd "$(dirname "$0")" && pwd)/services.sh
  trap '"$services" down' EXIT
  eval "$("$services" up postgres pgbouncer)"
fi
"$@"
