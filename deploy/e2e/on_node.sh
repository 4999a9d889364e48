#!/usr/bin/env bash
# on_node.sh FOLDER: makes a node on this machine, runs `make e2e` on it, and removes the node, whatever happens.
# FOLDER has the scripts up.sh, build-image.sh and down.sh, which keep their files in $WORK. Needs root.
# The exit code is that of `make e2e`; 3 means that the machine can't have a node, or has one already.
set -uo pipefail
scripts=$(cd "$1" && pwd)
export WORK="${WORK:-/tmp/node}"  # short: it has Unix sockets
if [ -e "$WORK/pki" ]; then
  echo "on_node.sh: $WORK/pki exists: another node is up, or $scripts/down.sh was not run" >&2
  exit 3
fi
trap '"$scripts/down.sh"' EXIT
trap 'exit 130' INT TERM
if ! timeout 1800 "$scripts/up.sh"; then  # seconds; without any cache it takes ten minutes
  echo "on_node.sh: no node came up" >&2
  exit 3
fi
export KUBECONFIG="$WORK/conf/admin.kubeconfig" PATH="$WORK/bin:$PATH" KUBELET_ROOT="$WORK/kubelet"
export IMAGE_BUILD="$scripts/build-image.sh . {image} --file=deploy/Dockerfile" IMAGE_LOAD=""
export KUBELET_RESTART="deploy/e2e/restart_kubelet.sh"
export ENGINE_BUILD="$scripts/build-image.sh {root} {image} --file=$PWD/deploy/e2e/engine.Dockerfile" ENGINE_LOAD=""
make e2e
