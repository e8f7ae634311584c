#!/usr/bin/env bash
# One install for the clients, these tests and the shop's front end. npm writes its own copy of the lockfile last, so an
# interrupted install is repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  npm ci
  touch node_modules/.package-lock.json
fi
