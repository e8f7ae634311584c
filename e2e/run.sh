#!/usr/bin/env bash
# Runs the suite against the built server. Installs what is missing first. README.md says more.
#   CAMPANILE_BIN    the server binary (default ../target/debug/campanile from here)
#   APPLICATION_BIN  the application in Rust (default ../target/debug/examples/application from here)
#   SHOP_BIN         the example shop (default ../target/debug/shop from here)
#   CHROMIUM         the browser (default /usr/bin/chromium)
# Arguments name test files; none means all of them.
set -euo pipefail
# Relative to where the caller stands.
if [[ -n ${CAMPANILE_BIN:-} ]]; then CAMPANILE_BIN=$(realpath -- "$CAMPANILE_BIN"); fi
if [[ -n ${APPLICATION_BIN:-} ]]; then APPLICATION_BIN=$(realpath -- "$APPLICATION_BIN"); fi
if [[ -n ${SHOP_BIN:-} ]]; then SHOP_BIN=$(realpath -- "$SHOP_BIN"); fi
cd "$(dirname "${BASH_SOURCE[0]}")"

export CAMPANILE_BIN=${CAMPANILE_BIN:-../target/debug/campanile}
export APPLICATION_BIN=${APPLICATION_BIN:-../target/debug/examples/application}
export SHOP_BIN=${SHOP_BIN:-../target/debug/shop}
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
for program in "$CAMPANILE_BIN" "$APPLICATION_BIN" "$SHOP_BIN" "$CHROMIUM"; do
  [[ -x $program ]] || { echo "run.sh: $program is missing" >&2; exit 2; }
done

./install.sh
npm run --silent build --workspace campanile-shop --prefix .. -- --logLevel warn
if [[ ! .venv/installed -nt requirements.txt ]]; then
  python3 -m venv .venv
  .venv/bin/pip install --quiet --requirement requirements.txt
  touch .venv/installed
fi

# Node trusts further certificates only from its start, so the one that TLS is tested with is made here.
export E2E_TLS=$PWD/.tls
if [[ ! -f $E2E_TLS/cert.pem ]]; then
  mkdir -p "$E2E_TLS"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=campanile-e2e \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$E2E_TLS/key.pem" -out "$E2E_TLS/new.pem" 2>/dev/null
  mv "$E2E_TLS/new.pem" "$E2E_TLS/cert.pem"
fi
export NODE_EXTRA_CA_CERTS=$E2E_TLS/cert.pem

# A file is mostly waiting, so several run at a time even on two cores. The time is that of a whole file, too, and those of
# the shop have most of a minute's work where the cores are busy.
if (($# == 0)); then set -- tests/*.test.js; fi
exec node --test --test-reporter=spec --test-concurrency=4 --test-timeout=120000 "$@"
