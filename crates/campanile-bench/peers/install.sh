#!/usr/bin/env bash
# Installs the peers with npm. An argument names the folder, else CAMPANILE_PEERS, else ~/.cache/campanile-bench.
set -euo pipefail
recipes=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
folder=${1:-${CAMPANILE_PEERS:-$HOME/.cache/campanile-bench}}

for peer in uws soketi laravel-echo-server socket.io; do
  mkdir -p "$folder/$peer"
  cp "$recipes/$peer"/*.js* "$folder/$peer/"
  (cd "$folder/$peer" && npm install --no-audit --no-fund --ignore-scripts)
done
(cd "$folder/soketi" && node adapt.js)
echo "the peers are in $folder"
