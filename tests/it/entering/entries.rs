//! Processes that hearthd starts inside: how they run, on pipes and on terminals.

use std::time::Duration;

use hearthd::enter::{EnterError, Run, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{SIZE, World, code, finish, finish_with, numbers, read_until, signal, type_in};
use crate::support::{Image, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_command_runs_as_the_user_with_its_environment() {
    let world = World::new();
    let line = "id -u; pwd; echo $FROM_IMAGE $HEARTH $TERM $SHELL; echo oops >&2; exit 3";
    let (end, out, err) = world.say(line).await;
    assert_eq!((end, out.as_str(), err.as_str()), (code(3), "1000\n/home/coder\nyes 1 xterm /bin/sh\n", "oops\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_an_image_with_nothing_in_it_can_be_entered() {
    let world = World::of(&Image::empty(), "1000:1000");
    let missing = world.open(Run::Command(vec!["ls".into()]), None).await.err().unwrap();
    assert!(matches!(&missing, EnterError::Refused { code: 127, .. }), "{missing:?}");
    let shell = world.open(Run::LoginShell, None).await.err().unwrap();
    assert!(shell.to_string().contains("no shell"), "{shell}");
    let argv = vec!["/usr/local/bin/hearth".into(), "init".into()];
    let entry = world.open(Run::Command(argv), None).await.unwrap();
    let note = entry.note.clone();
    let (end, _, err) = finish(entry).await;
    assert_eq!(end, code(2));
    assert!(err.contains("first process"), "{err}");
    assert_eq!(note.as_deref(), Some("cannot enter /home/coder: No such file or directory; this begins in /"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_arguments_arrive_as_they_are_and_need_no_shell() {
    let world = World::new();
    let argv = ["printf", "%s|", "a b", "", "$HOME", "*", "'\"\n"].map(String::from).to_vec();
    let (end, out, _) = finish(world.open(Run::Command(argv), None).await.unwrap()).await;
    assert_eq!((end, out.as_str()), (code(0), "a b||$HOME|*|'\"\n|"));
    let login = world.open(Run::LoginShell, None).await.unwrap();
    let (end, out, _) = finish_with(login, b"echo $0\nexit 4\n").await;
    assert_eq!((end, out.as_str()), (code(4), "-sh\n"));
    let refused = world.open(Run::Command(vec!["/etc/passwd".into()]), None).await.err().unwrap();
    assert!(matches!(&refused, EnterError::Refused { code: 126, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_signals_are_passed_on_and_reported() {
    let world = World::new();
    assert_eq!(world.say("kill -9 $$").await.0, signal(9));
    let entry = world.sh("sleep 3600").await;
    entry.control.signal(2).await;
    assert_eq!(finish(entry).await.0, signal(2));
    let mut entry = world.sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done").await;
    read_until(&mut entry, "ready").await;
    entry.control.signal(10).await;
    assert_eq!(finish(entry).await.0, code(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_end_of_input_arrives_and_output_goes_on() {
    let world = World::new();
    let entry = world.sh("cat; echo; cat; echo after; exit 5").await;
    let (end, out, _) = finish_with(entry, b"before").await;
    assert_eq!((end, out.as_str()), (code(5), "before\nafter\n"));
    // A process that closes its output early still tells its code later.
    let (end, out, _) = world.say("echo first; exec >&- 2>&-; sleep 0.2; exit 6").await;
    assert_eq!((end, out.as_str()), (code(6), "first\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_standard_streams_can_be_opened_by_name() {
    let world = World::new();
    let (end, out, err) = world.say("echo out > /dev/stdout; echo err > /dev/stderr").await;
    assert_eq!((end, out.as_str(), err.as_str()), (code(0), "out\n", "err\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_hundred_mebibytes_arrive_intact_each_way() {
    let world = World::new();
    let sent = numbers(100 << 20);
    let mut entry = world.sh("cat").await;
    let (mut stdin, mut stdout) = (entry.stdin.take().unwrap(), entry.stdout.take().unwrap());
    let mut received = Vec::with_capacity(sent.len());
    let both = async {
        let writing = async {
            stdin.write_all(&sent).await.unwrap();
            drop(stdin);
        };
        tokio::join!(writing, stdout.read_to_end(&mut received))
    };
    timeout(PATIENCE, both).await.unwrap().1.unwrap();
    assert!(received == sent, "{} bytes of {} arrived, or others", received.len(), sent.len());
    assert_eq!(entry.exit.await.unwrap(), code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_terminal_has_a_size_and_signals() {
    let world = World::new();
    let mut entry = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    assert!(entry.stderr.is_none());
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "stty size; tty; test -t 2 && echo is-''a-terminal\n").await;
    let seen = read_until(&mut entry, "is-a-terminal\r\n~ $ ").await;
    assert!(seen.contains("31 97\r\n/dev/pts/"), "{seen}");
    type_in(&mut entry, "cat -u -\n").await;
    world.wait_until_there("cat -u -");
    entry.control.resize(Size { rows: 40, cols: 120 }).await;
    // Ctrl-C ends what is in the foreground, and the shell goes on.
    type_in(&mut entry, "\x03").await;
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "stty size\n").await;
    read_until(&mut entry, "40 120\r\n~ $ ").await;
    type_in(&mut entry, "sleep 3600\n").await;
    world.wait_until_there("sleep 3600");
    entry.control.signal(15).await;
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "echo co''de $?\n").await;
    read_until(&mut entry, "code 143").await;
    type_in(&mut entry, "exit 7\n").await;
    assert_eq!(finish(entry).await.0, code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_terminals_output_is_whole_before_its_end_is_told() {
    let world = World::new();
    for background in ["", "sleep 3601 & "] {
        let line = Run::Line(format!("{background}seq 1 30000; exit 8"));
        let mut entry = world.open(line, Some(SIZE)).await.unwrap();
        // The process ends, or waits, long before anybody reads.
        let early = timeout(Duration::from_millis(300), &mut entry.exit).await;
        assert!(early.is_err(), "the end was told before the output was taken");
        let (end, out, _) = finish(entry).await;
        assert_eq!(end, code(8));
        assert!(out.ends_with("\r\n30000\r\n"), "{:?}", &out[out.len() - 60..]);
        assert_eq!(out.lines().count(), 30000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_end_of_input_ends_a_terminals_shell() {
    let world = World::new();
    let mut entry = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    read_until(&mut entry, "$ ").await;
    let (end, out, _) = finish_with(entry, b"echo one\n").await;
    assert_eq!(end, code(0));
    assert!(out.contains("\r\none\r\n"), "{out:?}");
}
