#!/usr/bin/env bash
# Runs soketi on 127.0.0.1:$PORT in the foreground, without limits that would come before the machine's.
set -euo pipefail
cd "${CAMPANILE_PEERS:-$HOME/.cache/campanile-bench}/soketi"
ulimit -n "$(ulimit -Hn)"
port=${PORT:-6001}

export NODE_ENV=production SOKETI_DEBUG=0 SOKETI_METRICS_ENABLED=0
export SOKETI_HOST=127.0.0.1 SOKETI_PORT=$port
# Two more ports that it opens whether or not they are used.
export SOKETI_METRICS_HOST=127.0.0.1 SOKETI_METRICS_SERVER_PORT=$((port + 1000)) SOKETI_CLUSTER_PORT=$((port + 2000))
export SOKETI_DEFAULT_APP_ID=app-id SOKETI_DEFAULT_APP_KEY=app-key SOKETI_DEFAULT_APP_SECRET=app-secret
export SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true SOKETI_DEFAULT_APP_MAX_CONNS=-1
export SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC=-1 SOKETI_DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC=-1
export SOKETI_DEFAULT_APP_MAX_READ_REQ_PER_SEC=-1 SOKETI_DEFAULT_APP_WEBHOOKS='[]'
export SOKETI_EVENT_MAX_SIZE_IN_KB=1000 SOKETI_EVENT_MAX_BATCH_SIZE=1000 SOKETI_EVENT_MAX_CHANNELS_AT_ONCE=1000
export SOKETI_PRESENCE_MAX_MEMBERS=100000
exec node --max-old-space-size=4096 node_modules/@soketi/soketi/bin/server.js start --config=config.json
