# shellcheck shell=bash
# Sourced by tests/run and packaging/quickstart: what a machine with only Debian (or Ubuntu) and Rust still needs.
# Everything here does nothing where it is already so.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '\n==> %s\n' "$*"; }

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "\`$*\` needs root, and there is no sudo: run this as root"; fi
}

has_systemd() { [ -d /run/systemd/system ]; }

# install_missing NEED…: NEED is `command=package`, or `package` alone where a command would not tell.
# What was installed is then in $installed.
installed=()
install_missing() {
  local need
  for need; do
    case $need in
      *=*) command -v "${need%%=*}" >/dev/null || installed+=("${need#*=}") ;;
      *) dpkg-query -W -f '${Status}' "$need" 2>/dev/null | grep -q 'ok installed' || installed+=("$need") ;;
    esac
  done
  [ ${#installed[@]} != 0 ] || return 0
  say "installing ${installed[*]}"
  apt_get update || { sleep 5; apt_get update; }
  # A client of its own since Debian 13.
  [[ " ${installed[*]} " != *' docker.io '* ]] || ! apt-cache show docker-cli >/dev/null 2>&1 || installed+=(docker-cli)
  without_starting_services apt_get install --no-install-recommends "${installed[@]}"
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -y "$@" </dev/null
}

# A package's server is ours to start, or not at all: nobody asked for an SSH or a registry server on port 22 or 5000.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d unit status=0
  if [ -e "$policy" ]; then "$@"; return; fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod +x "$policy"
  "$@" || status=$?
  as_root rm -f "$policy"
  if has_systemd; then
    for unit in ssh docker-registry; do
      [[ " ${installed[*]} " != *" ${unit/#ssh/openssh-server} "* ]] || as_root systemctl --quiet disable "$unit"
    done
  fi
  return $status
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# The docker client, by way of root where the caller may not use the engine.
docker() {
  if [ "$(id -u)" = 0 ] || [ -w /var/run/docker.sock ]; then command docker "$@"; else as_root docker "$@"; fi
}

# engine_up LOG: uses the engine that runs, or starts one; then $engine_started says how: systemd, or dockerd's pid.
engine_started=
engine_up() {
  ! engine_answers || return 0
  say "starting Docker"
  if has_systemd; then
    as_root systemctl start docker
    engine_started=systemd
  else
    as_root setsid --fork dockerd </dev/null >"$1" 2>&1
    engine_started=dockerd
  fi
  local tries
  for ((tries = 0; tries < 120; tries++)); do
    if engine_answers; then
      [ "$engine_started" = systemd ] || engine_started=$(cat /var/run/docker.pid)
      return 0
    fi
    [ "$engine_started" = systemd ] || [ $tries -lt 10 ] || runs "$(cat /var/run/docker.pid)" || break
    sleep 0.5
  done
  if has_systemd; then as_root journalctl --no-pager -n 20 -u docker >&2 || true; else tail -20 "$1" >&2; fi
  die "Docker did not start"
}

# engine_down HOW: stops the engine that engine_up started.
engine_down() {
  case $1 in
    '') return 0 ;;
    systemd) as_root systemctl stop docker.socket docker ;;
    dockerd) [ ! -e /var/run/docker.pid ] || engine_down "$(cat /var/run/docker.pid)" ;;
    *) [ "$(cat "/proc/$1/comm" 2>/dev/null)" != dockerd ] || end_process "$1" ;;
  esac
}

# Whether a process runs; one that has ended and whose parent does not care does not.
runs() { grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

# end_process PID: ends it and waits until it is gone; past 30 s by force.
end_process() {
  local signal=TERM tries
  for ((tries = 0; tries < 300; tries++)); do
    runs "$1" || return 0
    [ $tries -lt 150 ] || signal=KILL
    kill -$signal "$1" 2>/dev/null || as_root kill -$signal "$1" 2>/dev/null || true
    sleep 0.2
  done
  die "process $1 does not end"
}
