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
  step "the programs need nothing of the system, the package nothing but Docker" static
  step "the service is hardened, and says why where it is not" hardened
  step "manual pages and completions are there" pages
  step "guide: registries and secrets" guide administration 'Registries and secrets'
  step "guide: day by day" guide administration 'Day by day'
  step "README: what it shows" readme
  step "sshd lets alice in, and others from elsewhere" remote
  for section in Enter 'What stays and what goes' 'Make it yours' Keys 'Other resources' 'When it goes off' 'When it starts' Homes; do
    step "guide for those who work in it: ${section,}" guide using "$section"
  done
  step "a reload with a typo fails with the reason, and changes nothing" typo
  step "a typo before anything was accepted: the service fails with the reason, and stays down" typo_at_first
  step "a restart: workspaces and callers do not notice, sessions are told" restart
  step "HEARTH_LOG says more, and the journal knows of whom" levels
  step "hearthd killed, and hanging: systemd starts it again" crash
  step "Docker restarted: workspaces come back as they were" docker_restart
  step "Docker reinstalled: workspaces come back as they were" docker_reinstalled
  step "Docker without its disk: no home is put in the place of one" docker_without_disk
  step "guide: when Docker restarts, and workspaces run on" live_restore
  step "guide: a ceiling for all" slice
  step "guide: backup and restore" backup
  step "guide: upgrade, with everybody at work" upgrade
  step "guide: trouble" guide administration Trouble
  step "the disk is full, and is not" disk_full
  step "the server reboots: workspaces come back" reboot
  step "apt remove: workspaces run on; installed again, it takes them up" removed
  step "apt purge: the homes are there, and come back" purged
  step "a day in the life: what is unused goes off, what is held or used does not; in the morning it starts" day
  step "nothing in the guides was left out" nothing_left_out
  step "no command in their prose was left out" prose
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

static() {
  on 'mkdir /srv/empty
    cp /usr/bin/hearthd /usr/bin/hearth /srv/empty
    same "$(chroot /srv/empty /hearthd --version)" "hearthd 0.1.0"
    same "$(chroot /srv/empty /hearth --version)" "hearth 0.1.0"
    rm -r /srv/empty
    same "$(dpkg-query --show --showformat "\${Depends}" hearthd)" "docker.io | docker-ce"'
}

hardened() {
  on 'score=$(systemd-analyze security hearth --no-pager | sed -n "s/.*exposure level for hearth.service: \([0-9.]*\).*/\1/p")
    awk -v score="$score" "BEGIN { exit !(score > 0 && score <= 5.0) }" || fail "exposure $score"
    echo "figure: systemd-analyze security: $score"
    same "$score" "$(sed -n "s/.*systemd-analyze security hearth. gives \([0-9.]*\);.*/\1/p" /usr/share/doc/hearthd/security.md)"
    # What it counts as open is named in the comments of the unit: a directive, or what a list of them lets in.
    systemd-analyze security hearth --no-pager --json=short | jq --raw-output ".[] |
      select(.set == false and .exposure != null) | .name |
      [., if test(\"~\") then sub(\".*~(CAP_)?\"; \"\") | gsub(\"[*]\"; \"[A-Z_]*\") else sub(\"=.*\"; \"\") end] | @tsv" >/run/open
    [ "$(wc --lines </run/open)" -gt 5 ] || fail "what is open could not be read: $(cat /run/open)"
    grep "^#" "$(systemctl show --property FragmentPath --value hearth)" >/run/reasons
    while read -r name words; do
      grep --quiet --word-regexp --extended-regexp "$words" /run/reasons || fail "$name is open, and hearth.service does not say why"
    done </run/open
    systemd-analyze verify hearth.service
    same "$(stat --format "%a %U" /var/lib/hearth)" "700 root"
    same "$(stat --format %a /run/hearth/hearth.sock)" 666'
}

# The commands that README shows are typed by alice, the ones about the configuration by root, and its sample is checked.
readme() {
  local command kind
  sed -n 's/^    \$ \(hearth .*\)/\1/p' README.md >"$work/readme"
  [ -s "$work/readme" ]
  while read -r command <&3; do
    echo "--- $command"
    if [[ $command == *config* ]]; then on "$command"; else on alice "$command"; fi
  done 3<"$work/readme"
  mkdir "$work/sample"
  kind=$(awk -v section='The configuration' -v out="$work/sample" -f tests/acceptance/blocks.awk README.md)
  [ "$kind" = "01 toml" ]
  put /srv/sample.toml 644 <"$work/sample/01"
  on 'hearth config check /srv/sample.toml'
}

# As from a machine of hers: a key, and hosts that are known.
remote() {
  on 'su - alice -c "mkdir -m 700 .ssh; ssh-keygen -q -t ed25519 -N \"\" -f .ssh/id_ed25519; cp .ssh/id_ed25519.pub .ssh/authorized_keys"
    ssh-keyscan -t ed25519 devserver 2>/dev/null >/etc/ssh/ssh_known_hosts
    same "$(su - alice -c "ssh -o BatchMode=yes devserver hearth ssh main -- uname -n")" main
    su - alice -c "ssh -o BatchMode=yes devserver hearth ssh main -- cat /nowhere" 2>/run/said && fail "no exit code" || same $? 1
    has "$(cat /run/said)" /nowhere
    # By a terminal at both ends.
    has "$(su - alice -c "ssh -tt devserver hearth ssh main" <<<"tty; exit")" /dev/pts/
    # Bob has no key there.
    if su - bob -c "ssh -o BatchMode=yes alice@devserver true" 2>/run/said; then fail "bob is alice"; fi'
}

pages() {
  on 'for page in hearth hearth-ssh hearth-config-check hearthd hearth.toml; do
      [ "$(man --pager=cat "$page" | wc --lines)" -gt 10 ]
    done
    test -s /usr/share/zsh/vendor-completions/_hearth
    test -s /usr/share/fish/vendor_completions.d/hearth.fish
    . /usr/share/bash-completion/completions/hearth
    test -s /usr/share/doc/hearthd/copyright
    hearth completion bash | cmp - /usr/share/bash-completion/completions/hearth
    hearth config check /usr/share/doc/hearthd/examples/hearth.toml'
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

upgrade() {
  on 'before=$(containers)
    # What an administrator changed is kept, and nobody is asked.
    printf "\n[server]\nadmins = [\"@sudo\"]\n" >>/etc/hearth/hearth.toml
    systemctl reload hearth
    containers >/run/before
    ask_on & disown
    # Alice is at work, by way of sshd and in a terminal.
    {
      su - alice -c "ssh -tt devserver hearth ssh main" < <(echo "echo in-\$((6 * 7))"; exec sleep 600) && code=0 || code=$?
      echo "code $code"
    } >/run/session 2>&1 & disown
    soon 60 grep in-42 /run/session'
  guide administration Upgrade
  on 'said=$(asked)
    echo "figure: across an upgrade $said"
    has "$(dpkg-query --show hearthd)" 0.1.0
    soon 60 grep "^code" /run/session
    has "$(cat /run/session)" "\`alice/main\` was left: hearthd stops or restarts"
    same "$(tail -1 /run/session)" "code 3"
    same "$(cat /run/before)" "$(containers)"
    has "$(cat /etc/hearth/hearth.toml)" "admins = [\"@sudo\"]"
    enter alice/main "kill -0 \$(cat ~/pid) 2>/dev/null || true; hearth list --quiet"
    hearth rebuild alice/main
    enter alice/main "hearth version"'
}

removed() {
  on 'before=$(containers; homes)
    apt remove hearthd --yes
    [ ! -e /usr/bin/hearth ]
    same "$before" "$(containers; homes)"
    test -e /etc/hearth/conf.d/acme.toml
    test -e /var/lib/hearth/state.db
    apt-get install --yes ./hearthd_*.deb
    soon 60 enter alice/main "cat todo"
    same "$before" "$(containers; homes)"'
}

purged() {
  on 'before=$(homes)
    said=$(apt purge hearthd --yes 2>&1)
    has "$said" "homes are kept"
    # The commands that it tells to see them do.
    same "$(eval "$(sed -n "s/^ *\(docker volume ls .*\)  *docker volume rm .*/\1/p" <<<"$said") --quiet" | sort)" "$before"
    same "$(eval "$(sed -n "s/^ *\(docker ps .*\)  *docker rm .*/\1/p" <<<"$said") --quiet" | wc --lines)" "$(containers | wc --lines)"
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

# Commands that stand in a guide's sentences and tables are somewhere among those that are run.
prose() {
  awk '/^```/ { inside = !inside; next } !inside' packaging/doc/*.md |
    grep --only-matching --extended-regexp '`(hearth|docker|systemctl|systemd-analyze|journalctl|apt|ssh) [^`]+`' |
    tr --delete '`' | sed --regexp-extended 's/ (main|[A-Z<[]).*//' | sort --unique >"$work/prose"
  [ "$(wc --lines <"$work/prose")" -gt 10 ]
  awk '/^```/ { inside = !inside; next } inside' packaging/doc/*.md | cat - tests/acceptance/*.sh >"$work/run"
  while read -r command; do
    grep --quiet --fixed-strings -- "$command" "$work/run" || echo "$command"
  done <"$work/prose" >"$work/forgotten"
  [ ! -s "$work/forgotten" ] || { echo "commands of the guides that were not run:"; cat "$work/forgotten"; return 1; }
}
