#!/usr/bin/env bash
# Runs this repository's release build on 127.0.0.1:$PORT in the foreground, with examples/raw-speed.toml or the
# configuration that is named; "defaults" is what a server does that has been told nothing but its app.
# With TLS_CERT_FILE and TLS_KEY_FILE it encrypts.
set -euo pipefail
root=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../../../..
ulimit -n "$(ulimit -Hn)"
export CAMPANILE__LISTEN__PORT=${PORT:-6001}
export CAMPANILE__STATE_DIR=${CAMPANILE_STATE:-${TMPDIR:-/tmp}/campanile-bench-state}
if [[ -n ${TLS_CERT_FILE:-} ]]; then
  export CAMPANILE__TLS__CERT_FILE=$TLS_CERT_FILE CAMPANILE__TLS__KEY_FILE=$TLS_KEY_FILE
fi
config=${1:-$root/examples/raw-speed.toml}
if [[ $config == defaults ]]; then
  export PUSHER_APP_ID=app-id PUSHER_APP_KEY=app-key PUSHER_APP_SECRET=app-secret
  exec "${CAMPANILE:-$root/target/release/campanile}" serve
fi
exec "${CAMPANILE:-$root/target/release/campanile}" serve --config "$config"
