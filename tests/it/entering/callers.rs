//! Who dials in on the workspace socket, and what becomes of it when hearthd is another.

use hearthd::enter::{EnterError, Lost, Run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{World, code, doors, read_until};
use crate::support::{PATIENCE, docker, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn x4_only_the_users_own_helper_counts() {
    let world = World::new();
    world.say("true").await;
    // Another user's process, a child of PID 1 or not; the user's own that is no child of it.
    world.exec(&["-u", "33"], &["sh", "-c", "(hearth helper >/dev/null 2>&1 &)"]).ok();
    world.exec(&["-u", "0"], &["sh", "-c", "(hearth helper >/dev/null 2>&1 &)"]).ok();
    docker(&["exec", "-d", "-u", "33", &world.container, "hearth", "helper"]).ok();
    docker(&["exec", "-d", &world.container, "hearth", "helper"]).ok();
    wait_for("all impostors", || {
        let listed = world.exec(&[], &["ps", "-o", "args"]).ok();
        let count = listed.lines().filter(|line| line.starts_with("hearth helper")).count();
        if count == 5 { Ok(()) } else { Err(listed) }
    });
    for _ in 0..30 {
        let (end, out, _) = world.say("id -u; cat /proc/$PPID/status | grep PPid").await;
        assert_eq!((end, out.as_str()), (code(0), "1000\nPPid:\t1\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_a_new_hearthd_takes_the_socket_over() {
    let mut world = World::new();
    let mut entry = world.sh("trap '' HUP; echo ready; sleep 3601; sleep 3602").await;
    read_until(&mut entry, "ready").await;
    world.stop.cancel();
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Err(Lost));
    let (doors, visitors, stop) = doors(world.directory.path());
    doors.listen(7, &world.workspace).unwrap();
    doors.listen(7, &world.workspace).unwrap();
    (world.doors, world.visitors, world.stop) = (doors, visitors, stop);
    let (end, out, _) = timeout(PATIENCE, world.say("echo again")).await.unwrap();
    assert_eq!((end, out.as_str()), (code(0), "again\n"));
    world.wait_until_gone("sleep 360");
    world.doors.close(7);
    let closed = world.open(Run::LoginShell, None).await.err().unwrap();
    assert!(matches!(closed, EnterError::Closed(_)), "{closed:?}");
    assert!(world.doors.directory(7).is_dir(), "a container has it mounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_http_on_the_workspace_socket_goes_to_the_api_untouched() {
    let mut world = World::new();
    let mut client = UnixStream::connect(world.doors.directory(7).join("sock")).await.unwrap();
    client.write_all(b"GET /v1/status HTTP/1.1\r\n").await.unwrap();
    let mut visitor = timeout(PATIENCE, world.visitors.recv()).await.unwrap().unwrap();
    assert_eq!(visitor.workspace, world.workspace);
    let mut line = [0; 25];
    visitor.stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"GET /v1/status HTTP/1.1\r\n");
    for stranger in [&b"\x16\x03\x01"[..], b"\0\0\0\x02\0{}"] {
        let mut client = UnixStream::connect(world.doors.directory(7).join("sock")).await.unwrap();
        client.write_all(stranger).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("it is not turned away");
        assert_eq!(answer, b"");
    }
}
