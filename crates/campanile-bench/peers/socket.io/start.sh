#!/usr/bin/env bash
# Runs the socket.io recipe on 127.0.0.1:$PORT in the foreground.
set -euo pipefail
cd "${CAMPANILE_PEERS:-$HOME/.cache/campanile-bench}/socket.io"
ulimit -n "$(ulimit -Hn)"
export NODE_ENV=production
exec node --max-old-space-size=4096 server.js
