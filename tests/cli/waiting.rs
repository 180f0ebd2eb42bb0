//! `wait`: what it waits for, how it shows it, and how it ends.

use std::time::Duration;

use runai_simulator::{AgentCommand, RecordPatch};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::tool::{Said, Tool};
use crate::world::{SOON, Setup, TEAM, World, uuid};

fn start(tool: &Tool, args: &[&str]) -> Child {
    tool.command(&[&["wait", "-n", TEAM], args].concat()).spawn().unwrap()
}

async fn end(child: Child) -> Said {
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
    Said::of(&output.expect("it does not end").unwrap())
}

/// Reads progress until a line holds `part`; returns what was read.
async fn until_says(child: &mut Child, part: &str) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push_str(&line);
            seen.push('\n');
            if line.contains(part) {
                return;
            }
        }
        panic!("it ended before it said {part:?}: {seen}");
    };
    tokio::time::timeout(SOON, read).await.unwrap_or_else(|_| panic!("it never said {part:?}"));
    child.stderr = Some(lines.into_inner().into_inner());
    seen
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_followed_from_before_it_exists_until_it_is_gone() {
    let world = World::start(Setup::default().simulator(|config| config.delete.graceful_seconds = 1.0)).await;
    let tool = Tool::of(&world);

    let mut child = start(&tool, &["east", "--for", "ready"]);
    until_says(&mut child, "team-a/east: does not exist").await;
    world.cluster("east", json!({})).await;
    let said = end(child).await.exits(0).notes(&["Ready=True Registered", "team-a/east is ready after "]);
    assert_eq!(said.stdout, "");
    let id = uuid(&world.until_ready("east").await);

    let mut child = start(&tool, &["east", "--for=connected"]);
    until_says(&mut child, "state WaitingToConnect").await;
    world.simulator.agent(id, AgentCommand::Start { after_seconds: 0.0, client_secret: None }).unwrap();
    end(child).await.exits(0).notes(&["state Connected", "team-a/east is connected after "]);
    // Reached already: at once.
    end(start(&tool, &["east", "--for", "connected", "--timeout", "1s"])).await.exits(0);

    let mut child = start(&tool, &["east", "--for", "gone"]);
    until_says(&mut child, "Ready=True").await;
    world.delete("east").await;
    end(child).await.exits(0).notes(&["being deleted", "team-a/east is gone after "]);
    end(start(&tool, &["east", "--for", "gone"])).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_has_its_code() {
    let world = World::start(Setup::default()).await;
    let tool = Tool::of(&world);

    // Time is up, with the reason that the object gives.
    world.cluster("taken", json!({})).await;
    world.until_ready("taken").await;
    world.cluster("late", json!({ "name": "taken" })).await;
    let said = end(start(&tool, &["late", "--for", "ready", "--timeout", "3s"])).await.exits(124);
    said.notes(&[
        "Stalled=True NameConflict: ",
        "error: team-a/late is not ready after 3s (--timeout); at last: Stalled=True",
    ]);
    let said = end(start(&tool, &["never", "--for", "ready", "--timeout", "1s"])).await.exits(124);
    said.notes(&["does not exist"]);

    // Ctrl-C, and its gentler sister.
    for (which, code, word) in [(Signal::INT, 130, "interrupted after "), (Signal::TERM, 143, "terminated after ")] {
        let mut child = start(&tool, &["late", "--for", "ready"]);
        until_says(&mut child, "NameConflict").await;
        signal(&child, which);
        end(child).await.exits(code).notes(&[word, "at last: team-a/late: Stalled=True NameConflict"]);
    }

    // What is deleted meanwhile is never reached.
    let mut child = start(&tool, &["late", "--for", "connected"]);
    until_says(&mut child, "NameConflict").await;
    world.delete("late").await;
    end(child).await.exits(1).notes(&["error: team-a/late was deleted before it was connected"]);

    // A condition that speaks of an older spec does not count.
    let id = uuid(&world.until_ready("taken").await);
    let generation = world.get("taken").await.unwrap()["metadata"]["generation"].as_i64().unwrap();
    world.simulator.patch(id, RecordPatch { stuck_delete: Some(true), ..RecordPatch::default() }).unwrap();
    let mut world = world;
    world.operator.sigkill();
    world.patch("taken", json!({ "spec": { "name": "taken-2" } })).await;
    assert_eq!(world.get("taken").await.unwrap()["metadata"]["generation"], generation + 1);
    let mut child = start(&tool, &["taken", "--for", "ready"]);
    until_says(&mut child, "Ready=True").await;
    world.kill_and_restart().await;
    end(child).await.exits(0);
    assert_eq!(world.get("taken").await.unwrap()["status"]["name"], "taken-2");

    end(start(&tool, &["x", "--for", "happy"])).await.exits(2).notes(&["ready, connected, gone"]);
    end(start(&tool, &["x", "--for", "ready", "--timeout", "5"])).await.exits(2).notes(&["30s, 10m or 1h30m"]);
    end(start(&tool, &["x"])).await.exits(2).notes(&["--for <WHAT>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_one_line_that_changes() {
    let world = World::start(Setup::default()).await;
    let tool = Tool::of(&world);
    let program = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let script = format!(
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['{program}', 'wait', 'x', '-n', '{TEAM}', '--for', 'ready', '--timeout', '3s'])))"
    );
    let on = async |term: &str| {
        let mut command = tool.prepare("python3");
        command.args(["-c", &script]).env("TERM", term);
        let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
        Said::of(&output).exits(124)
    };
    let said = on("xterm").await;
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{said:#?}");
    for part in [
        "\r\u{1b}[K0s team-a/x: does not exist",
        "\r\u{1b}[K1s team-a/x: does not exist",
        "\r\u{1b}[Kerror: team-a/x is not ready",
    ] {
        assert!(said.stdout.contains(part), "{part:?} is missing: {said:#?}");
    }
    let said = on("dumb").await;
    assert!(!said.stdout.contains('\u{1b}') && said.stdout.lines().count() == 2, "{said:#?}");
}
