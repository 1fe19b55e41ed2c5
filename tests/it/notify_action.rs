//! Tests of notifications by an instance of a machine other than boards.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::api::send;
use crate::world::{World, wait_until};

const DOOR: &str = "\
machine: door
initial: Shut
events:
  open: { from: operator, about: somebody is at the door }
states:
  Shut: { about: nobody is in, resting: true, on: { open: Opening } }
  Opening:
    about: the porter is told
    invoke: { action: notify, with: NOTIFY }
    timeout: { after: 10m, target: FailedOpening }
    on: { notify-ok: Open, notify-failed: FailedOpening }
  Open: { about: whoever was there is in, final: true }
  FailedOpening: { about: the porter could not be told, on: { open: Opening } }
";

/// A server with a door whose notifications are configured by `settings`.
async fn door(world: &World, settings: &Value) {
    let text = DOOR.replace("NOTIFY", &settings.to_string());
    let loaded = send(world, "PUT /api/v1/machines/door", text).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text);
    send(world, "PUT /api/v1/machines/door/front", "").await;
    let opened = send(world, "POST /api/v1/machines/door/front/events/open", "").await;
    assert_eq!(opened.status, 200, "{}", opened.text);
}

async fn until(world: &World, state: &str) -> Value {
    wait_until(state, async || world.get("/api/v1/machines/door/front").await["state"] == state).await;
    world.get("/api/v1/machines/door/front/history").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_a_generic_machine_notifies_and_moves_on() {
    let (world, porter) = (World::new().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}/", porter.local_addr().unwrap());
    let received = async {
        let (mut stream, _) = porter.accept().await.unwrap();
        let mut request = String::new();
        while !request.ends_with('}') {
            request.push(char::from(stream.read_u8().await.unwrap()));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncoming").await.unwrap();
        let body = &request[request.find("\r\n\r\n").unwrap()..];
        serde_json::from_str::<Value>(body).unwrap()
    };
    let settings = json!({ "url": url, "message": "open the door" });
    let ((), message) = tokio::join!(door(&world, &settings), received);
    let fields = ["machine", "instance", "state", "action", "message"].map(|key| &message[key]);
    assert_eq!(json!(fields), json!(["door", "front", "Opening", "notify", "open the door"]));
    let history = until(&world, "Open").await;
    let history = history.to_string();
    assert!(history.contains("notify-ok") && history.contains(r#""answer":"coming""#), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_run_where_the_server_allows_it_and_fails_clearly_where_not() {
    let settings = json!({ "command": ["true"] });
    let world = World::new().await;
    door(&world, &settings).await;
    let history = until(&world, "FailedOpening").await.to_string();
    assert!(history.contains("--allow-commands") && history.contains("configuration"), "{history}");

    let world = World::with_serve_options(|options| lifeguard::cli::serve::ServeOptions {
        allow_commands: true,
        ..options
    })
    .await;
    door(&world, &settings).await;
    until(&world, "Open").await;
}
