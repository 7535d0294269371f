# shellcheck shell=bash
# Sourced by tests/acceptance/run: a whole server of the host's own release, in a container: systemd, Docker, sshd, and
# nothing of hearth. What it needs of the host is an engine that may give it CAP_SYS_ADMIN, and cgroups.

server=hearth-acceptance-$HEARTH_TEST_RUN
server_packages=(adduser dbus docker.io iproute2 iptables jq man-db openssh-server systemd systemd-sysv)

# Makes the server's image, once per machine and for what is in it: the root lies where the tests keep theirs.
server_image() {
  local version root cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearth-tests
  version=$( (cat packaging/debian-root /etc/os-release; echo "${server_packages[*]}") | sha256sum | cut -c1-12)
  image=hearth-test-server:$version
  ! docker image inspect "$image" >/dev/null 2>&1 || return 0
  root=$cache/server-$version.tar
  mkdir -p "$cache"
  [ -e "$root" ] || packaging/debian-root "$root" "${server_packages[@]}"
  docker import - "$image" <"$root"
}

# The mounts are the container's own, made anew at each start: the hierarchies of cgroups are there read-only.
server_init='for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw "$hierarchy" || true; done
  exec /sbin/init'

# Labelled as all that a run of the tests makes, so that tests/run removes it even if this is killed.
server_up() {
  local label=hearth.instance=test-$HEARTH_TEST_RUN-acceptance
  docker volume create --label "$label" "$server" >/dev/null
  docker run --detach --name "$server" --hostname devserver --label "$label" \
    --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_PTRACE --cgroupns private \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --tmpfs /run --tmpfs /tmp --volume "$server:/var/lib/docker" --env container=docker \
    --stop-signal SIGRTMIN+3 --stop-timeout 60 "$image" sh -c "$server_init" >/dev/null
  docker cp tests/acceptance/inside.sh "$server:/usr/local/lib/" >/dev/null
  server_booted
}

server_booted() {
  local tries state
  for ((tries = 0; tries < 300; tries++)); do
    state=$(docker exec "$server" systemctl is-system-running --wait 2>&1 || true)
    case $state in
      running) return 0 ;;
      degraded) docker exec "$server" systemctl --failed --no-pager; return 1 ;;
    esac
    sleep 0.2
  done
  echo "the server does not come up: $state"
  docker logs --tail 20 "$server"
  return 1
}

server_down() {
  docker rm --force --volumes "$server"
  docker volume rm --force "$server"
} >/dev/null 2>&1

# on [USER] SCRIPT: runs a script on the server, as root or in a login shell of the user. What it asks is answered by
# $answers, else by nothing.
answers=
on() {
  local user=
  if [ $# = 2 ]; then user=$1; shift; fi
  if [ -n "$user" ]; then
    docker exec --interactive "$server" runuser --login "$user" --command "$1" <<<"$answers"
  else
    docker exec --interactive --env BASH_ENV=/usr/local/lib/inside.sh --workdir /root "$server" \
      bash -euo pipefail -c "$1" <<<"$answers"
  fi
}

# put FILE MODE: what stands on standard input becomes a file of the server.
put() {
  docker exec --interactive "$server" sh -c 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"' sh "$1" "$2"
}
