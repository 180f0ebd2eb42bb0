//! What the command line says of itself: completions, man pages, and the plugin's name.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use crate::tool::{Said, Tool};

const COMMANDS: [&str; 10] =
    ["run", "crds", "doctor", "inventory", "export", "plan", "wait", "probe", "completions", "man"];

#[tokio::test]
async fn every_command_has_a_man_page() {
    let tool = Tool::alone();
    let said = tool.run(&["man", "--output-dir", "pages"]).await.exits(0).notes(&["11 man pages written to pages"]);
    assert_eq!(said.stdout, "");
    let pages = tool.directory().join("pages");
    let files: BTreeSet<_> =
        std::fs::read_dir(&pages).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let own = "runai-cluster-operator";
    let want: BTreeSet<_> =
        COMMANDS.iter().map(|command| format!("{own}-{command}.1")).chain([format!("{own}.1")]).collect();
    assert_eq!(files, want);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let plan = page("runai-cluster-operator-plan.1");
    for part in
        [".TH runai-cluster-operator-plan 1", "\\-\\-filename", "RUNAI_OPERATOR_NAMESPACE", "Exit code: 0 nothing"]
    {
        assert!(plan.contains(part), "{part} is missing:\n{plan}");
    }
    let all = tool.run(&["man"]).await.exits(0);
    assert_eq!(all.stdout.len(), files.iter().map(|name| page(name).len()).sum::<usize>());

    // What the environment holds at the time has no place in them.
    let mut with = tool.command(&["man"]);
    with.env("RUNAI_OPERATOR_NAMESPACE", "canary");
    assert_eq!(Said::of(&with.output().await.unwrap()).exits(0).stdout, all.stdout);
    tool.run(&["man", "--output-dir", "/proc/nowhere"])
        .await
        .exits(1)
        .notes(&["error: /proc/nowhere cannot be written"]);
}

#[tokio::test]
async fn completions_are_for_the_name_that_was_called() {
    let tool = Tool::alone();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = tool.run(&["completions", shell]).await.exits(0);
        assert_eq!(said.stderr, "");
        for word in COMMANDS.iter().chain(&["runai-cluster-operator", "output-dir", "deletion-policy"]) {
            assert!(said.stdout.contains(word), "{shell}: {word}");
        }
    }
    let script = tool.file("completions", &tool.run(&["completions", "bash"]).await.stdout);
    Said::of(&tool.prepare("bash").args(["-n", &script]).output().await.unwrap()).exits(0);
    // What bash offers when somebody types `.. wait x --for <TAB>`.
    let ask = format!(
        "source {script}; COMP_WORDS=(runai-cluster-operator wait x --for ''); COMP_CWORD=4; \
         function=$(complete -p runai-cluster-operator | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); \
         $function runai-cluster-operator '' --for; echo \"${{COMPREPLY[@]}}\""
    );
    let said = Said::of(&tool.prepare("bash").args(["-c", &ask]).output().await.unwrap()).exits(0);
    assert_eq!(said.stdout.trim(), "ready connected gone", "{said:#?}");
    tool.run(&["completions", "dos"]).await.exits(2).notes(&["bash", "zsh"]);
}

#[tokio::test]
async fn kubectl_finds_it_as_a_plugin() {
    let tool = Tool::alone();
    let plugin = tool.directory().join("kubectl-runai_cluster");
    symlink(env!("CARGO_BIN_EXE_runai-cluster-operator"), &plugin).unwrap();
    let run = async |args: &[&str]| Said::of(&tool.prepare(&plugin).args(args).output().await.unwrap());
    let help = run(&["--help"]).await.exits(0);
    assert!(help.stdout.contains("Usage: kubectl runai-cluster <COMMAND>"), "{help:#?}");
    for command in COMMANDS {
        let help = run(&[command, "--help"]).await.exits(0);
        assert!(help.stdout.contains(&format!("Usage: kubectl runai-cluster {command}")), "{help:#?}");
    }
    run(&["wait"]).await.exits(2).notes(&["Usage: kubectl runai-cluster wait"]);
    let zsh = run(&["completions", "zsh"]).await.exits(0);
    assert!(zsh.stdout.starts_with("#compdef kubectl-runai_cluster"));

    let own = tool.run(&["plan", "--help"]).await.exits(0);
    assert!(own.stdout.contains("Usage: runai-cluster-operator plan"), "{own:#?}");

    // And by kubectl itself, which finds its plugins in the PATH.
    let kubectl = testbed::find_all().await.unwrap().kubectl;
    let mut command = tool.prepare(kubectl);
    command.args(["runai-cluster", "wait", "--help"]).env("PATH", tool.directory());
    let said = Said::of(&command.output().await.unwrap()).exits(0);
    assert!(said.stdout.contains("Usage: kubectl runai-cluster wait"), "{said:#?}");
}

#[tokio::test]
async fn no_colour_where_nobody_wants_it() {
    let tool = Tool::alone();
    // Not a terminal: none in any case. On a terminal: none with NO_COLOR.
    let said = tool.run(&["plan"]).await.exits(2);
    assert!(!said.stderr.contains('\u{1b}'), "{said:#?}");
    let program = env!("CARGO_BIN_EXE_runai-cluster-operator");
    for (no_color, coloured) in [("", true), ("1", false)] {
        let script =
            format!("import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['{program}', 'plan'])))");
        let mut command = tool.prepare("python3");
        command.args(["-c", &script]).env("NO_COLOR", no_color).env("TERM", "xterm");
        let said = Said::of(&command.output().await.unwrap()).exits(2);
        assert_eq!(said.stdout.contains('\u{1b}'), coloured, "{said:#?}");
    }
}
