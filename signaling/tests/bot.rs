//! `switchyard bot` as users run it: a process, which talks with a participant of a room over its data channel.

use crate::harness::{PATIENCE, Server, Socket, keyed, open};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const WINDOW: u64 = 100_000;

/// Of one byte, of several chunks, and of nothing.
fn file(name: &str, bytes: usize) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let content: Vec<u8> = (0..bytes).map(|byte| (byte * 7) as u8).collect();
    std::fs::write(&path, content).unwrap();
    path
}

/// What a bot says on standard output.
type Lines = mpsc::UnboundedReceiver<String>;

fn bot(server: &Server, arguments: &[&str]) -> (Child, Lines) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchyard"));
    command.args(["bot", &format!("http://{}", server.address), "--room", "den"]);
    command.args(arguments).env_remove("SWITCHYARD_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (tell, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Not every test listens.
            let _ = tell.send(line);
        }
    });
    (child, lines)
}

async fn next_line(lines: &mut Lines) -> String {
    timeout(PATIENCE, lines.recv()).await.expect("a line in time").expect("a bot that talks")
}

/// Exit code and what standard error says.
async fn finish(child: Child) -> (Option<i32>, String) {
    let id = child.id();
    let ended = spawn_blocking(move || child.wait_with_output().unwrap());
    let Ok(ended) = timeout(PATIENCE, ended).await else {
        signal("KILL", id);
        panic!("the bot does not end");
    };
    let Output { status, stderr, .. } = ended.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn signal(name: &str, id: u32) {
    Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
}

async fn ada(server: &Server) -> Socket {
    let mut ada = Socket::open(server).await;
    ada.join("den", "").await;
    ada
}

async fn tell(ada: &mut Socket, to: &Value, message: Value) {
    let text = message.to_string();
    ada.say(json!({"type": "publish_data", "topic": "files", "to": [to], "text": text})).await;
}

/// What the next message about files says: an offer, or the bytes of a chunk with its offset.
async fn next_about_files(ada: &mut Socket) -> (Value, Value, Vec<u8>) {
    let message = ada.next("data").await;
    assert_eq!(message["topic"], "files");
    let control = message["text"].as_str().map(|text| serde_json::from_str(text).unwrap());
    let bytes = message["bytes"].as_str().map(|bytes| STANDARD.decode(bytes).unwrap());
    (message["identity"].clone(), control.unwrap_or_default(), bytes.unwrap_or_default())
}

/// Takes the file that is offered, and returns its bytes.
async fn take(ada: &mut Socket) -> (Value, Vec<u8>) {
    let (from, offer, _) = next_about_files(ada).await;
    assert_eq!(offer["type"], "offer");
    let (id, size) = (offer["file"].as_str().unwrap(), offer["size"].as_u64().unwrap());
    let mut content = Vec::new();
    let accept = json!({"type": "accept", "file": id, "at": 0, "until": WINDOW.min(size)});
    tell(ada, &from, accept).await;
    while (content.len() as u64) < size {
        let (_, _, chunk) = next_about_files(ada).await;
        let (head, rest) = chunk.split_at(1 + id.len());
        assert_eq!(head[1..], *id.as_bytes());
        let (at, bytes) = rest.split_at(8);
        assert_eq!(u64::from_be_bytes(at.try_into().unwrap()), content.len() as u64);
        content.extend(bytes);
        let at = content.len() as u64;
        let until = (at + WINDOW).min(size);
        tell(ada, &from, json!({"type": "credit", "file": id, "at": at, "until": until})).await;
    }
    tell(ada, &from, json!({"type": "done", "file": id, "ok": true})).await;
    (offer, content)
}

#[tokio::test]
async fn a_bot_says_something_and_hears_what_is_said() {
    let server = open();
    let mut ada = ada(&server).await;
    let (child, mut lines) =
        bot(&server, &["--name", "Robot", "--duration", "60s", "--say", "Hello"]);
    let said = ada.next("chat_message").await;
    assert_eq!((&said["name"], &said["text"]), (&json!("Robot"), &json!("Hello")));
    assert_eq!(next_line(&mut lines).await, "Robot: Hello");
    ada.say(json!({"type": "chat", "request": 5, "text": "Hello\u{9}Robot"})).await;
    assert_eq!(next_line(&mut lines).await, "N: Hello Robot");
    // The server's messages on a data channel of the `webrtc` crate.
    for length in [1, 1000, 60_000] {
        let bytes = STANDARD.encode(vec![7_u8; length]);
        ada.say(json!({"type": "publish_data", "topic": "game", "bytes": bytes})).await;
        let line = next_line(&mut lines).await;
        assert_eq!(line, format!("N: [game] {length} bytes"));
    }
    signal("INT", child.id());
    assert_eq!(finish(child).await, (Some(0), String::new()));
    assert_eq!(ada.next("participant_left").await["reason"], "left");
}

#[tokio::test]
async fn a_bot_sends_files_of_every_length_and_ends_when_somebody_has_it() {
    let server = open();
    let mut ada = ada(&server).await;
    for length in [0, 1, 1000, 60_000, 700_000] {
        let path = file(&format!("bot-{length}.bin"), length);
        let (child, _lines) = bot(&server, &["--send", path.to_str().unwrap()]);
        let (offer, content) = take(&mut ada).await;
        assert_eq!(offer["name"], format!("bot-{length}.bin"));
        assert_eq!(content, std::fs::read(&path).unwrap());
        assert_eq!(finish(child).await, (Some(0), String::new()), "{length}");
    }
}

#[tokio::test]
async fn a_refusal_ends_it_with_a_sentence() {
    let server = open();
    let mut ada = Socket::open(&server).await;
    ada.say(json!({"type": "join", "request": 1, "version": 1, "room": "den", "name": "Ada", "identity": "ada"})).await;
    ada.answer(1).await;
    let path = file("refused.bin", 10);
    let (child, _lines) = bot(&server, &["--send", path.to_str().unwrap(), "--to", "ada"]);
    let (from, offer, _) = next_about_files(&mut ada).await;
    tell(&mut ada, &from, json!({"type": "cancel", "file": offer["file"]})).await;
    let (code, said) = finish(child).await;
    assert_eq!((code, said.trim()), (Some(1), "switchyard: ada does not want refused.bin"));
    // And when nobody takes it in time.
    let path = path.to_str().unwrap();
    let (child, _lines) = bot(&server, &["--send", path, "--duration", "1s"]);
    let (code, said) = finish(child).await;
    assert_eq!((code, said.trim()), (Some(1), "switchyard: nobody took refused.bin"));
}

#[tokio::test]
async fn a_file_for_somebody_who_is_not_here_waits_only_if_told_to() {
    let server = open();
    let path = file("for-eve.bin", 10);
    let send = ["--send", path.to_str().unwrap(), "--to", "eve"];
    let (child, _lines) = bot(&server, &send);
    let (code, said) = finish(child).await;
    assert!(
        code == Some(1) && said.contains("nobody \"eve\"") && said.contains("--duration"),
        "{said}"
    );
    let mut ada = ada(&server).await;
    let (child, mut lines) = bot(&server, &[&send[..], &["--duration", "60s"]].concat());
    ada.next("participant_joined").await;
    let mut eve = Socket::open(&server).await;
    eve.say(json!({"type": "join", "request": 1, "version": 1, "room": "den", "name": "Eve", "identity": "eve"})).await;
    eve.answer(1).await;
    assert_eq!(take(&mut eve).await.1, std::fs::read(&path).unwrap());
    assert_eq!(next_line(&mut lines).await, "Eve: has for-eve.bin");
    signal("INT", child.id());
    assert_eq!(finish(child).await, (Some(0), String::new()));
}

#[tokio::test]
async fn what_cannot_be_is_told() {
    let server = keyed();
    let (child, _lines) = bot(&server, &["--say", "Hello"]);
    let (code, said) = finish(child).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("switchyard: the server refuses: "), "{said}");
    let (child, _lines) = bot(&server, &["--send", "/nowhere/at/all"]);
    let (code, said) = finish(child).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("switchyard: cannot read /nowhere/at/all"), "{said}");
}
