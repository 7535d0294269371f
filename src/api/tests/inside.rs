//! The workspaces' own sockets: a token counts on its own socket alone, and its bearer is never more than the owner.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::api::testing::{Answer, World, ask_on, token};

async fn ask(world: &World, socket: &str, method: &str, uri: &str, token: Option<&str>) -> Answer {
    ask_on(world.call_inside(socket), method, uri, "", token).await
}

#[tokio::test]
async fn a_token_counts_on_its_own_socket_alone() {
    let world = World::new();
    let main = token("alice/main");
    assert_eq!(ask(&world, "alice/main", "GET", "/v1/status", Some(&main)).await.status, 200);
    for (socket, token) in [
        ("alice/side", Some(main.as_str())),
        ("bob/main", Some(&main)),
        ("carol/old", Some(&main)),
        ("alice/main", Some("")),
        ("alice/main", Some("token-of-alice/mai")),
        ("alice/main", None),
    ] {
        let answer = ask(&world, socket, "GET", "/v1/status", token).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{socket} {token:?}");
    }
}

#[tokio::test]
async fn a_token_of_an_earlier_build_counts_no_more() {
    let world = World::new();
    world.change("alice/main", |view| {
        view.inside.as_mut().unwrap().token_hash = blake3::hash(b"new").to_hex().to_string()
    });
    assert_eq!(ask(&world, "alice/main", "GET", "/v1/status", Some(&token("alice/main"))).await.status, 401);
    assert_eq!(ask(&world, "alice/main", "GET", "/v1/status", Some("new")).await.status, 200);
    world.change("alice/main", |view| view.inside.as_mut().unwrap().token_hash = "no hash".into());
    assert_eq!(ask(&world, "alice/main", "GET", "/v1/status", Some("no hash")).await.status, 401);
}

#[tokio::test]
async fn from_inside_one_sees_the_owners_and_acts_on_this_one() {
    let world = World::new();
    let own = token("alice/main");
    let ask = async |method: &str, uri: &str| ask(&world, "alice/main", method, uri, Some(&own)).await;
    let list = ask("GET", "/v1/workspaces").await.json();
    let names: Vec<_> =
        list.as_array().unwrap().iter().map(|workspace| workspace["workspace"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice/main", "alice/side"]);
    let status = ask("GET", "/v1/status").await.json();
    let you = json!({"name": "alice (inside alice/main)", "users": ["alice"], "admin": false, "inside": "alice/main"});
    assert_eq!(status["you"], you);
    for (method, uri, status) in [
        ("GET", "/v1/workspaces/alice/side", 200),
        ("POST", "/v1/workspaces/alice/main/rebuild", 200),
        ("POST", "/v1/workspaces/alice/side/rebuild", 403),
        ("POST", "/v1/workspaces/alice/side/stop", 403),
        ("GET", "/v1/workspaces/alice/side/builds/1/log", 403),
        ("GET", "/v1/workspaces/bob/main", 404),
        ("POST", "/v1/workspaces/bob/main/stop", 404),
        ("POST", "/v1/config/reload", 403),
        ("GET", "/v1/audit", 403),
        ("GET", "/v1/users/bob/git-key", 404),
    ] {
        assert_eq!(ask(method, uri).await.status, status, "{method} {uri}");
    }
    assert_eq!(
        world.audited().await[0],
        "alice (inside alice/main), inside alice/main: rebuild alice/main: running → build 17: ok"
    );
}

#[tokio::test]
async fn nobody_enters_from_inside() {
    let world = World::new();
    let mut stream = world.call_inside("alice/main");
    let head = format!(
        "POST /v1/workspaces/alice/main/enter HTTP/1.1\r\nhost: hearth\r\nconnection: upgrade\r\n\
         upgrade: hearth-enter/1\r\nauthorization: Bearer {}\r\n\r\n",
        token("alice/main")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0; 12];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 403");
    assert!(world.around.entries.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn x4_wrong_tokens_are_slowed_down_and_the_right_one_is_not() {
    let world = World::new();
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(ask(&world, "alice/main", "GET", "/v1/status", Some("guess")).await.status);
    }
    assert_eq!(seen, [[401; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(ask(&world, "alice/main", "GET", "/v1/status", Some(&token("alice/main"))).await.status, 200);
    assert_eq!(ask(&world, "alice/side", "GET", "/v1/status", Some("guess")).await.status, 401, "each has its own");
}

#[tokio::test(start_paused = true)]
async fn x4_requests_and_changes_from_inside_are_limited() {
    let world = World::new();
    let own = token("alice/main");
    let mut changed = 0;
    for _ in 0..40 {
        changed += usize::from(
            ask(&world, "alice/main", "POST", "/v1/workspaces/alice/main/stop", Some(&own)).await.status == 200,
        );
    }
    assert_eq!(changed, 30);
    let mut last = 0;
    for _ in 0..100 {
        last = ask(&world, "alice/main", "GET", "/v1/status", Some(&own)).await.status;
    }
    assert_eq!(last, 429);
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert_eq!(ask(&world, "alice/main", "POST", "/v1/workspaces/alice/main/stop", Some(&own)).await.status, 200);
}

#[tokio::test]
async fn x4_one_workspace_has_so_many_connections() {
    let world = World::new();
    let mut open: Vec<_> = (0..32).map(|_| world.call_inside("alice/main")).collect();
    let mut text = String::new();
    // Each has its place as soon as its task has run.
    tokio::task::yield_now().await;
    world.call_inside("alice/main").read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 429 "), "{text:?}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())) && body.contains("too_many"), "{text}");
    assert_eq!(ask(&world, "alice/side", "GET", "/v1/status", Some(&token("alice/side"))).await.status, 200);
    open.pop();
    let again = async {
        loop {
            let mut stream = world.call_inside("alice/main");
            stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut text = String::new();
            if stream.read_to_string(&mut text).await.is_ok() && text.starts_with("HTTP/1.1 401") {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), again).await.unwrap();
}
