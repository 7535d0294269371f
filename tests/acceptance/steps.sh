# shellcheck shell=bash
# Sourced by tests/acceptance/run: what is done on the server, in order.

all_steps() {
  step "the package, and one that is older" packages
  step "a server boots: systemd, Docker, sshd" boot
  on 'date +%s%N >/run/began'
  step "guide: install" guide administration Install
  step "guide: an image" guide administration 'An image'
  step "guide: the first org" guide administration 'The first org'
  step "the first workspace runs" first_workspace
  step "the service is hardened" hardened
  step "manual pages and completions are there" pages
  step "guide: registries and secrets" guide administration 'Registries and secrets'
  step "guide: day by day" guide administration 'Day by day'
  for section in Enter 'What stays and what goes' 'Make it yours' Keys 'Other resources' 'When it goes off' 'When it starts' Homes; do
    step "guide for those who work in it: ${section,}" guide using "$section"
  done
  step "a reload with a typo fails with the reason, and changes nothing" typo
  step "a restart: workspaces and callers do not notice, sessions are told" restart
  step "HEARTH_LOG says more, and the journal knows of whom" levels
  step "hearthd killed, and hanging: systemd starts it again" crash
  step "Docker restarted: workspaces come back as they were" docker_restart
  step "guide: backup and restore" guide administration 'Backup and restore'
  step "guide: upgrade, with everybody at work" upgrade
  step "guide: trouble" guide administration Trouble
  step "the disk is full, and is not" disk_full
  step "the server reboots: workspaces come back" reboot
  step "apt remove: workspaces run on; installed again, it takes them up" removed
  step "apt purge: the homes are there, and come back" purged
  step "a day in the life: what is unused goes off, what is held or used does not; in the morning it starts" day
  step "nothing in the guides was left out" nothing_left_out
}

packages() {
  local new
  packaging/build --output "$work/new" --binaries "$binaries"
  new=$(echo "$work"/new/*.deb)
  dpkg-deb --raw-extract "$new" "$work/tree"
  sed -i 's/^Version: .*/Version: 0.0.9-1/' "$work/tree/DEBIAN/control"
  # Another sample, so that an upgrade has something to keep or to replace.
  echo '# The sample of 0.0.9.' >>"$work/tree/etc/hearth/hearth.toml"
  mkdir "$work/old"
  dpkg-deb --build -Znone --root-owner-group "$work/tree" "$work/old/hearthd_0.0.9-1_$(dpkg --print-architecture).deb"
  echo "figure: package $(du --apparent-size --block-size=KiB "$new" | cut -f1), hearthd" \
    "$(du --apparent-size --block-size=KiB "$work/tree/usr/bin/hearthd" | cut -f1), hearth" \
    "$(du --apparent-size --block-size=KiB "$work/tree/usr/bin/hearth" | cut -f1) (built from $binaries)"
}

boot() {
  server_image
  server_up
  # The image that people's images are made from: this same Debian, without the engine and without the user that the
  # guide makes.
  on 'cd /
    tar --create --one-file-system --exclude=./usr/bin/docker* --exclude=./usr/sbin/dockerd --exclude=./usr/bin/containerd* \
      --exclude=./var/lib/docker --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./var/lib/apt . |
      docker import - whole >/dev/null
    docker run --name base whole sh -c "userdel --remove coder 2>&1 && rm /etc/sudoers.d/coder"
    docker commit base debian:bookworm >/dev/null
    docker rm base >/dev/null'
  docker cp "$work/old/." "$server:/root/"
  on 'echo "figure: $(systemctl --version | head -1), Docker $(docker version --format "{{.Server.Version}}")"'
}

first_workspace() {
  on 'soon 60 is alice/main running
    same "$(su - alice -c "hearth ssh main -- cat todo")" "- finish the parser"
    # By its own clock: the people do not type.
    built=$(date --date "$(of alice/main .build.ended_at)" +%s%N)
    echo "figure: $(((built - $(cat /run/began)) / 1000000)) ms from \`apt install\` to the first workspace, the image built between"
    has "$(su - dana -c "hearth list")" alice/main
    has "$(su - dana -c "hearth ssh alice/main -- true" 2>&1 || true)" "may not"
    has "$(su - bob -c "hearth show alice/main" 2>&1 || true)" "no workspace"'
}

hardened() {
  on 'score=$(systemd-analyze security hearth --no-pager | sed -n "s/.*exposure level for hearth.service: \([0-9.]*\).*/\1/p")
    awk -v score="$score" "BEGIN { exit !(score > 0 && score <= 5.0) }" || fail "exposure $score"
    echo "figure: systemd-analyze security: $score"
    systemd-analyze verify hearth.service
    same "$(stat --format "%a %U" /var/lib/hearth)" "700 root"
    same "$(stat --format %a /run/hearth/hearth.sock)" 666'
}

pages() {
  on 'for page in hearth hearth-ssh hearth-config-check hearthd hearth.toml; do
      [ "$(man --pager=cat "$page" | wc --lines)" -gt 10 ]
    done
    test -s /usr/share/zsh/vendor-completions/_hearth
    test -s /usr/share/fish/vendor_completions.d/hearth.fish
    . /usr/share/bash-completion/completions/hearth
    test -s /usr/share/doc/hearthd/copyright
    hearth config check /usr/share/doc/hearthd/examples/hearth.toml'
}

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

levels() {
  on 'echo HEARTH_LOG=debug >/etc/default/hearth
    systemctl restart hearth
    hearth rebuild bob/main
    # What hearthd said a moment ago may still be on its way to the journal.
    said() { journalctl -u hearth WORKSPACE=bob/main "$@" --output cat; }
    details() { said PRIORITY=7 | grep --quiet "at its stage inject"; }
    built() { said PRIORITY=6 BUILD=$(of bob/main .build.number) | grep --quiet "^built .bob/main."; }
    soon 60 details
    soon 60 built
    rm /etc/default/hearth
    systemctl restart hearth'
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

upgrade() {
  on 'before=$(containers)
    # What an administrator changed is kept, and nobody is asked.
    printf "\n[server]\nadmins = [\"@sudo\"]\n" >>/etc/hearth/hearth.toml
    systemctl reload hearth
    containers >/run/before
    ask_on & disown'
  guide administration Upgrade
  on 'said=$(asked)
    echo "figure: across an upgrade $said"
    has "$(dpkg-query --show hearthd)" 0.1.0
    same "$(cat /run/before)" "$(containers)"
    has "$(cat /etc/hearth/hearth.toml)" "admins = [\"@sudo\"]"
    enter alice/main "kill -0 \$(cat ~/pid) 2>/dev/null || true; hearth list --quiet"
    hearth rebuild alice/main
    enter alice/main "hearth version"'
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

removed() {
  on 'before=$(containers)
    apt-get remove --yes hearthd
    [ ! -e /usr/bin/hearth ]
    same "$before" "$(containers)"
    test -e /etc/hearth/conf.d/acme.toml
    test -e /var/lib/hearth/state.db
    apt-get install --yes ./hearthd_*.deb
    soon 60 enter alice/main "cat todo"
    same "$before" "$(containers)"'
}

purged() {
  on 'before=$(homes)
    said=$(apt-get purge --yes hearthd 2>&1)
    has "$said" "homes are kept"
    [ ! -e /var/lib/hearth ] && [ ! -e /etc/hearth/hearth.toml ]
    # Files that the administrator made are his: the next installation takes them up.
    test -e /etc/hearth/conf.d/acme.toml
    same "$before" "$(homes)"
    [ -n "$before" ]
    apt-get install --yes ./hearthd_*.deb
    hearth start carol/main
    soon 60 all_run
    has "$(enter alice/main "cat todo")" parser
    same "$before" "$(homes)"'
}

# Two orgs, five people; in one of them a day takes seconds.
day() {
  put /etc/hearth/conf.d/field.toml 644 <<'TOML'
[orgs.field]
image             = "acme-dev"
pull              = "missing"
default_workspace = "main"
activity          = "open"
auto_off          = "20s"
auto_off_override = "modify"

[users.erin]
orgs  = ["field"]

[users.erin.workspaces.main]
ports = ["127.0.0.1:8080:8080"]

[users.frank]
orgs  = ["field"]
TOML
  put /var/tmp/echo.pl 644 <<'PERL'
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0:8080', Listen => 5, ReuseAddr => 1);
while (my $client = $listener->accept) {
  if (!fork) { while (sysread $client, my $bytes, 4096) { syswrite $client, $bytes } exit }
}
PERL
  on 'for user in erin frank; do adduser --quiet --disabled-password --gecos "" $user; done
    systemctl reload hearth
    soon 60 all_run
    ids=$(containers)
    # Erin is at work, Frank is not.
    (until [ -e /run/leave ]; do sleep 0.2; done | su - erin -c "hearth ssh main -- cat" >/dev/null) &
    at_work=$!
    soon 60 is frank/main off
    is erin/main running
    echo "figure: frank/main off $(($(date +%s) - $(date --date "$(of frank/main .build.ended_at)" +%s))) s after its build, by an auto-off of 20 s"
    has "$(su - frank -c "hearth show main")" auto-off
    journalctl --sync
    has "$(journalctl -u hearth --no-pager WORKSPACE=frank/main)" "frank/main"
    same "$(homes | grep frank)" hearth.frank.main.home
    # What reconnects by itself does not bring it back; Frank does, with the same home.
    has "$(su - frank -c "hearth ssh main -- true" 2>&1 || true)" "no connection without a terminal starts it"
    su - frank -c "hearth start main"
    su - frank -c "hearth ssh main -- sh -c \"echo back >back\""
    is frank/main running
    # Erin leaves a training behind that nobody watches.
    su - erin -c "hearth hold main 1h -m training"
    has "$(su - erin -c "hearth why main")" training
    touch /run/leave
    wait $at_work || true
    soon 60 is frank/main off
    # His next morning comes within two minutes.
    at=$(date --date "80 seconds" +%H:%M)
    su - frank -c "hearth set main auto_start=$at"
    soon 150 is frank/main running
    same "$(of frank/main .build.reason)" auto-start
    is erin/main running
    has "$(su - erin -c "hearth why main")" training
    # Evidence of use is read from her container, hardened as the service is.
    has "$(hearth status --json | jq --compact-output .notes)" "[]"
    hearth ssh erin/main -- sh -c "cat >echo.pl; nohup perl echo.pl >/dev/null 2>&1 &" </var/tmp/echo.pl
    soon 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/8080; echo hello >&3; read -t 2 -r answer <&3"
    exec 3<>/dev/tcp/127.0.0.1/8080
    echo hello >&3
    read -r answer <&3
    same "$answer" hello
    soon 60 eval "hearth why erin/main | tee /run/why | grep --quiet 8080"
    cat /run/why
    exec 3>&-
    su - erin -c "hearth release main"
    soon 60 is erin/main off
    # The other org has other rules.
    is alice/main running
    is bob/main running
    soon 60 is frank/main off
    su - frank -c "hearth start main"
    same "$(su - frank -c "hearth ssh main -- cat back")" back'
}
