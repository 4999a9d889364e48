#!/usr/bin/env bash
# restart_kubelet.sh: ends the kubelet of the node that on_node.sh has made, and starts it again with the same arguments.
# $WORK has its process id (pid/kubelet) and its log (log/kubelet.log), as up.sh leaves them.
set -euo pipefail
pid=$(cat "$WORK/pid/kubelet")
mapfile -d '' -t command <"/proc/$pid/cmdline"
before=$(sysctl kernel.panic kernel.panic_on_oops | sed 's/ = /=/')
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
PATH="$PATH:/usr/sbin:/sbin" setsid "${command[@]}" >>"$WORK/log/kubelet.log" 2>&1 </dev/null &
echo $! >"$WORK/pid/kubelet"
# A kubelet has the kernel panic on an oops, soon after it has started. That is put back, as up.sh does.
for _ in $(seq 50); do
  [ "$(sysctl kernel.panic kernel.panic_on_oops | sed 's/ = /=/')" = "$before" ] || break
  sleep 0.2
done
echo "$before" | xargs sysctl -q -w
