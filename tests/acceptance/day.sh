# shellcheck shell=bash
# Sourced by tests/acceptance/run: the step in which people are at work, and leave.

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
