#!/usr/bin/env bash
# Runs the tests that need no server on the other supported versions of Python that this machine has, and says which.
set -euo pipefail
cd "$(dirname "$0")/.."

# The interpreter of one version: on PATH, or installed by pyenv.
interpreter() {
  local found candidate
  found=$(pyenv prefix "$(pyenv latest "$1" 2>/dev/null)" 2>/dev/null || true)
  for candidate in "python$1" "$found/bin/python"; do
    if "$candidate" -c "import sys; sys.exit('.'.join(map(str, sys.version_info[:2])) != '$1')" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

own=$(.venv/bin/python -c 'import sys; print(".".join(map(str, sys.version_info[:2])))')
used="$own"
for version in 3.11 3.12 3.13; do
  [ "$version" != "$own" ] || continue
  python=$(interpreter "$version")
  if [ -z "$python" ]; then
    echo "Python $version: not on this machine, nothing was tested with it"
    continue
  fi
  venv=.venv/other/$version
  if [ pyproject.toml -nt "$venv/ready" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
    "$venv/bin/python" -m pip install --quiet -e . --group test
    touch "$venv/ready"
  fi
  echo "Python $("$venv/bin/python" -V | cut -d' ' -f2): suites without a server"
  "$venv/bin/python" -m pytest -n 2 -q tests/unit tests/kit tests/test_conformance.py tests/e2e --backends memory,sqlite "$@"
  used="$used, $version"
done
echo "Pythons tested: $used"
