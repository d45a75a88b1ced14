//! The load generator against the real server, short and without a processor of its own: does it measure at all?

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The server beside the generator; built where it is not there yet.
fn server() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_switchyard-bench")).parent().expect("a folder");
    let path = folder.join("switchyard");
    if !path.exists() {
        let name = folder.file_name().expect("a name").to_string_lossy();
        let profile = if name == "debug" { "dev" } else { &name };
        let mut cargo = Command::new(env!("CARGO"));
        let status = cargo.args(["build", "-p", "signaling", "--profile", profile]).status();
        assert!(status.expect("cargo").success());
    }
    path
}

fn run(name: &str, arguments: &[&str]) -> Value {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (json, svg) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.svg")));
    let output = Command::new(env!("CARGO_BIN_EXE_switchyard-bench"))
        .arg("run")
        .args(arguments)
        .args(["--seconds", "2", "--warm-up", "1", "--rounds", "1", "--unpinned", "--server"])
        .args([&server(), Path::new("--json"), &json, Path::new("--plot"), &svg])
        .output()
        .expect("the generator");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(std::fs::read_to_string(svg).expect("a plot").contains("<svg"));
    serde_json::from_str(&std::fs::read_to_string(json).expect("figures")).expect("JSON")
}

fn median(value: &Value, target: usize, name: &str) -> f64 {
    value["points"][0]["targets"][target]["figures"][name]["median"].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_broadcast_to_three_is_measured() {
    let targets = ["--target", "switchyard", "--target", "switchyard-ws"];
    let value = run("broadcast", &[&["broadcast", "--subscribers", "3"], &targets[..]].concat());
    for target in 0..2 {
        assert_eq!(median(&value, target, "loss %"), 0.0);
        assert_eq!(median(&value, target, "corrupt packets"), 0.0);
        assert!(median(&value, target, "server CPU µs per packet") > 0.0);
        assert!(median(&value, target, "video delay p50 ms") > 0.0);
        // Three times 150 for two seconds.
        assert!(median(&value, target, "compared packets") > 500.0);
        let rate = median(&value, target, "packets per second");
        assert!((300.0..600.0).contains(&rate), "{rate}");
    }
}

#[test]
fn lost_packets_are_made_up_for_with_the_profile_that_was_offered() {
    let value = run("loss", &["loss", "--subscribers", "2", "--percent", "10", "--profile", "cm"]);
    let round = &value["points"][0]["targets"][0]["rounds"][0];
    assert_eq!(round["srtp"], "SRTP_AES128_CM_HMAC_SHA1_80");
    assert!(median(&value, 0, "missing packets") > 10.0);
    assert!(median(&value, 0, "complete within 500 ms %") > 99.0);
}

#[test]
fn figure_12_bots_have_media_again_after_the_server_was_killed() {
    let small = ["restart", "--bots", "6", "--together", "3", "--down-ms", "500", "--burst", "2"];
    let value = run("restart", &small);
    assert_eq!(median(&value, 0, "bots with media again"), 6.0);
    assert!(median(&value, 0, "server ready after s") >= 0.5);
    let p95 = median(&value, 0, "media back p95 s");
    assert!(p95 <= 5.0, "{p95} s after the kill");
}
