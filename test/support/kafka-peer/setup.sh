#!/usr/bin/env bash
# Rebuilds the Kafka peer on a fresh machine from Maven artifacts only. Needs: java >= 17, mvn >= 3.8.
# Usage: setup.sh [--tests]      --tests also fetches Kafka's published test jars into test-lib/
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mkdir -p "$KAFKA_PEER_HOME"
stamp=$(cksum < "$here/pom.xml")
copy() { # PROFILE FOLDER
  rm -rf "$KAFKA_PEER_HOME/$2.new"
  mvn -B -q -f "$here/pom.xml" "-P$1" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$KAFKA_PEER_HOME/$2.new"
  rm -rf "$KAFKA_PEER_HOME/$2"; mv "$KAFKA_PEER_HOME/$2.new" "$KAFKA_PEER_HOME/$2"
}
if [ "$(cat "$KAFKA_PEER_HOME/.ready" 2>/dev/null || true)" != "$stamp" ]; then
  rm -f "$KAFKA_PEER_HOME/.ready"
  copy broker broker-lib
  copy tools tools-lib
  copy streams streams-lib
  cp "$here/log4j2.yaml" "$here/log4j2-tools.yaml" "$KAFKA_PEER_HOME/"
  echo "$stamp" > "$KAFKA_PEER_HOME/.ready"
fi
if [ "${1:-}" = --tests ]; then copy tests test-lib; fi
"$here/kafka-tool.sh" --version-of-broker
echo "kafka-peer ready in $KAFKA_PEER_HOME"
