# shellcheck shell=bash
# What the scripts that run on the server have in common.

fail() { echo "$*" >&2; exit 1; }

# soon SECONDS COMMAND…: asks until the command is true, and fails with its last words when it takes longer.
soon() {
  local limit=$((SECONDS + $1)) said
  shift
  until said=$("$@" 2>&1); do
    [ $SECONDS -lt $limit ] || fail "waited for \`$*\`: $said; $(hearth list 2>&1)"
    sleep 0.1
  done
}

same() { [ "$1" = "$2" ] || fail "not the same: $1 and $2"; }
has() { [[ "$1" == *"$2"* ]] || fail "no \`$2\` in: $1"; }

# of WORKSPACE FILTER: a part of what `hearth show` says.
of() { hearth show "$1" --json | jq --raw-output "$2"; }
# is WORKSPACE STATE
is() { [ "$(of "$1" .state)" = "$2" ]; }
all_run() { hearth list --json | jq --exit-status 'length > 1 and all(.state == "running")'; }
# The containers of all workspaces that run, with when they were started.
containers() {
  docker ps --quiet --no-trunc --filter label=hearth.workspace | sort |
    xargs --no-run-if-empty docker inspect --format '{{.Id}} {{.State.StartedAt}}'
}
homes() { docker volume ls --quiet --filter label=hearth.home | sort; }
enter() { hearth ssh "$1" -- sh -c "$2"; }

# Asks the API all the time, until the file /run/asked/stop is there; then /run/asked/log has a line per answer: how long it
# took in ms, and the exit code.
ask_on() {
  local from
  rm -rf /run/asked
  mkdir /run/asked
  while [ ! -e /run/asked/stop ]; do
    from=$(date +%s%N)
    hearth status --json >/run/asked/last 2>&1 && code=0 || code=$?
    echo "$((($(date +%s%N) - from) / 1000000)) $code" >>/run/asked/log
  done
  touch /run/asked/done
}
asked() {
  touch /run/asked/stop
  soon 60 test -e /run/asked/done
  awk '{ n++; if ($1 > most) most = $1; if ($2) refused++ }
    END { printf "%d answers, %d refused, the slowest in %d ms\n", n, refused, most; exit refused > 0 }' /run/asked/log ||
    fail "$(cat /run/asked/last)"
}
