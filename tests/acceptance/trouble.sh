# shellcheck shell=bash
# Sourced by tests/acceptance/run: the steps in which something goes wrong on the server, and is mended.

typo() {
  on 'before=$(containers)
    sed --in-place s/auto_off_max/auto_of_max/ /etc/hearth/conf.d/acme.toml
    if systemctl reload hearth; then fail "the reload went well"; fi
    journalctl --sync
    said=$(journalctl -u hearth --no-pager --output cat -n 30)
    has "$said" "/etc/hearth/conf.d/acme.toml:8:1: unknown key \`auto_of_max\`"
    has "$said" "did you mean \`auto_off_max\`?"
    has "$(hearth status)" "rejected since"
    systemctl is-active hearth
    # On a copy of what was accepted it also starts.
    systemctl restart hearth
    has "$(hearth status)" "the last accepted copy"
    sed --in-place s/auto_of_max/auto_off_max/ /etc/hearth/conf.d/acme.toml
    systemctl reload hearth
    has "$(hearth status)" "/etc/hearth/hearth.toml, in force"
    same "$before" "$(containers)"'
}

typo_at_first() {
  on 'before=$(containers; homes)
    property() { systemctl show --property "$1" --value hearth; }
    systemctl stop hearth
    mv /var/lib/hearth /var/lib/hearth.kept
    sed --in-place s/auto_off_max/auto_of_max/ /etc/hearth/conf.d/acme.toml
    if systemctl restart hearth; then fail "it started"; fi
    # One that is to be started again would be activating.
    same "$(property ActiveState) $(property NRestarts) $(property ExecMainStatus)" "failed 0 2"
    journalctl --sync
    said=$(journalctl _SYSTEMD_INVOCATION_ID=$(property InvocationID) --no-pager --output cat)
    has "$said" "/etc/hearth/conf.d/acme.toml:8:1: unknown key \`auto_of_max\`"
    has "$said" "did you mean \`auto_off_max\`?"
    hearth list && code=0 || code=$?
    same "$code" 3
    sed --in-place s/auto_of_max/auto_off_max/ /etc/hearth/conf.d/acme.toml
    # Nothing was written before anything was accepted.
    same "$(ls --almost-all /var/lib/hearth)" ""
    rmdir /var/lib/hearth
    mv /var/lib/hearth.kept /var/lib/hearth
    systemctl start hearth
    has "$(hearth status)" "/etc/hearth/hearth.toml, in force"
    same "$before" "$(containers; homes)"'
}

restart() {
  on 'before=$(containers)
    enter alice/main "nohup sleep 4711 >/dev/null 2>&1 & echo \$! >~/pid"
    su - alice -c "hearth ssh main -- sleep 1000" >/run/session 2>&1 &
    session=$!
    soon 60 enter alice/main "pgrep --full --exact \"sleep 1000\""
    ask_on &
    systemctl restart hearth
    sleep 1
    said=$(asked)
    echo "figure: across a restart $said"
    if wait $session; then fail "the session went on"; fi
    has "$(cat /run/session)" "hearthd stops or restarts"
    same "$before" "$(containers)"
    enter alice/main "kill -0 \$(cat ~/pid)"
    has "$(hearth ssh alice/main -- hearth list)" alice/main'
}

crash() {
  on 'before=$(containers)
    pid() { systemctl show --property MainPID --value hearth; }
    another() { [ "$(pid)" != 0 ] && [ "$(pid)" != "$1" ] && hearth status >/dev/null; }
    first=$(pid)
    kill -KILL $first
    soon 60 another $first
    mkdir --parents /run/systemd/system/hearth.service.d
    printf "[Service]\nWatchdogSec=8\n" >/run/systemd/system/hearth.service.d/quick.conf
    systemctl daemon-reload
    systemctl restart hearth
    # As long as it goes on it is fed, at rest too.
    second=$(pid)
    sleep 10
    same "$second" "$(pid)"
    kill -STOP $second
    soon 60 another $second
    rm -r /run/systemd/system/hearth.service.d
    systemctl daemon-reload
    systemctl restart hearth
    same "$before" "$(containers)"
    # kill -HUP reloads, too.
    sed --in-place "s/auto_off          = \"2h\"/auto_off          = \"3h\"/" /etc/hearth/conf.d/acme.toml
    systemctl kill --signal HUP --kill-who main hearth
    soon 60 eval "hearth config show alice/main --json | grep --quiet 3h"'
}

docker_restart() {
  on 'ids() { containers | cut -d" " -f1; }
    before=$(ids)
    enter alice/main "echo here >/tmp/still"
    systemctl stop docker.socket docker
    soon 60 eval "hearth status | grep --quiet \"what is shown is from the last look\""
    has "$(hearth list)" alice/main
    hearth stop alice/main && code=0 || code=$?
    same "$code" 3
    systemctl start docker
    soon 60 enter alice/main "cat /tmp/still"
    soon 60 all_run
    same "$before" "$(ids)"'
}

# Without its package Docker is away, and hearthd, which depends on it, stays.
docker_reinstalled() {
  mkdir "$work/engine"
  (cd "$work/engine" && { apt-get -qq download docker.io || { as_root apt-get -qq update && apt-get -qq download docker.io; }; })
  docker cp "$work/engine" "$server:/root/"
  on 'ids() { containers | cut -d" " -f1; }
    before=$(ids; homes)
    enter alice/main "echo here >/tmp/still"
    dpkg --remove --force-depends docker.io
    if command -v dockerd; then fail "Docker is still there"; fi
    soon 60 eval "hearth status | grep --quiet \"what is shown is from the last look\""
    since=$(date +%s%N)
    dpkg --install /root/engine/docker.io_*.deb
    soon 60 enter alice/main "cat /tmp/still"
    soon 60 all_run
    echo "figure: from the installation to all workspaces as they were $((($(date +%s%N) - since) / 1000000)) ms"
    same "$before" "$(ids; homes)"
    rm --recursive /root/engine'
}

# What an engine shows whose disk was not mounted at the boot, or whose data was wiped.
docker_without_disk() {
  on 'kept() { docker ps --all --quiet --no-trunc --filter label=hearth.workspace | sort; homes; }
    before=$(kept)
    enter alice/main "echo precious >~/precious; echo here >/tmp/still"
    # Systemd would have it that three starts a minute are enough.
    engine() { systemctl stop docker.socket docker; "$@"; systemctl reset-failed docker; systemctl start docker; }
    engine mount -t tmpfs tmpfs /var/lib/docker
    for workspace in alice bob carol; do soon 60 is $workspace/main failed; done
    same "$(kept)" ""
    hearth rebuild alice/main >/run/said 2>&1 && fail "it was rebuilt" || same $? 1
    gone="the home of \`alice/main\`, volume \`hearth.alice.main.home\`, is gone from Docker; no empty one is put in its place"
    for said in "$(cat /run/said)" "$(hearth show alice/main)"; do
      has "$said" "$gone. If Docker"
      has "$said" "disk is not mounted, mount it; else \`docker volume create --label hearth.home=1"
    done
    same "$(kept)" ""
    engine umount /var/lib/docker
    soon 60 all_run
    same "$(kept)" "$before"
    same "$(enter alice/main "cat ~/precious /tmp/still" | tr "\n" " ")" "precious here "'
}

# After the steps in which a restart of the engine ends the containers: from here on it does not.
live_restore() {
  on 'systemctl reset-failed docker
    containers >/run/before'
  guide administration 'When Docker restarts'
  on 'same "$(cat /run/before)" "$(containers)"
    soon 60 all_run
    enter alice/main "cat todo"'
}

# A ceiling for all workspaces, by the engine: hearth goes on, and knows its containers and their use there too.
slice() {
  on 'systemctl reset-failed docker'
  guide administration 'A ceiling for all'
  on 'hearth rebuild bob/main
    inside=$(docker inspect --format "{{.State.Pid}}" hearth.bob.main)
    has "$(cat /proc/$inside/cgroup)" /hearth.slice/docker-
    has "$(systemctl show --property MemoryMax hearth.slice)" =4294967296
    has "$(hearth status --json | jq --compact-output .notes)" "[]"
    soon 60 all_run
    enter bob/main true'
}

# Back come the key that the Git server knows and what bob chose, and nobody who works is disturbed: alice is at work in a
# container that the state of before does not know.
backup() {
  on 'key() { hearth git key alice; }
    key >/run/key
    hearth set bob/main auto_off=11h
    containers | grep "$(docker ps --quiet --no-trunc --filter label=hearth.workspace=bob/main)" >/run/before'
  guide administration 'Backup and restore'
  on 'same "$(cat /run/key)" "$(hearth git key alice)"
    has "$(hearth config show bob/main)" 11h
    hearth reset bob/main auto_off
    soon 60 all_run
    containers | grep --fixed-strings "$(cat /run/before)"
    journalctl --sync
    said=$(journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show --property InvocationID --value hearth) --no-pager --output cat)
    has "$said" "container \`hearth.alice.main\` is not in the database, which was lost or is older: it is taken over"
    if [[ "$said" == *built* ]]; then fail "built anew: $said"; fi
    enter alice/main "cat todo; ssh-keygen -y -f /run/hearth/git/id_ed25519" >/run/said
    has "$(cat /run/said)" "$(cut -d" " -f1,2 /run/key)"'
}

disk_full() {
  on 'before=$(containers)
    systemctl stop hearth
    mkdir /run/full
    mount -t tmpfs -o size=16m,mode=0700 tmpfs /run/full
    cp --archive /var/lib/hearth/. /run/full
    mount --bind /run/full /var/lib/hearth
    systemctl start hearth
    head --bytes 100M /dev/zero >/var/lib/hearth/ballast 2>/dev/null || true
    has "$(hearth list)" alice/main
    enter alice/main true
    hearth rebuild alice/main >/run/said 2>&1 && fail "it was rebuilt: $(cat /run/said)"
    cat /run/said
    same "$before" "$(containers)"
    rm /var/lib/hearth/ballast
    hearth rebuild alice/main
    systemctl stop hearth
    umount /var/lib/hearth
    cp --archive /run/full/. /var/lib/hearth
    umount /run/full
    systemctl start hearth
    soon 60 is alice/main running
    enter alice/main "cat todo"'
}

reboot() {
  on 'homes >/var/tmp/homes; containers | cut -d" " -f1 >/var/tmp/containers'
  docker stop "$server"
  docker start "$server"
  server_booted
  on 'soon 60 enter alice/main "cat todo"
    soon 60 all_run
    same "$(cat /var/tmp/homes)" "$(homes)"
    same "$(cat /var/tmp/containers)" "$(containers | cut -d" " -f1)"'
}
