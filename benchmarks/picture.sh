#!/usr/bin/env bash
# The README's picture: the report of a run as a browser shows it. Needs Debian's chromium.
set -euo pipefail
page=$(realpath "${1:-runs/quickstart/report.html}")
chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$(mktemp -d)" \
    --window-size=1240,1900 --virtual-time-budget=5000 --screenshot="$PWD/docs/report.png" "file://$page"
