//! Pages that are played: what of a page is run, and the page with what was printed put in anew.
//!
//! Owns the reading of Markdown. Must not know any page, or how a command is run.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// What follows the fence: `console`, `sh`, `yaml`.
    pub(crate) language: String,
    /// Its lines, each with its end.
    pub(crate) body: String,
    /// The number of its first line in the page, from 1.
    pub(crate) line: usize,
}

/// What of a page is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A fenced block.
    Block(Block),
    /// A comment of one line, which a reader does not see: `<!-- text -->`.
    Remark(String),
}

/// Gives every part of a page to `play`, in order; returns the page with the bodies that it gave back in their place.
pub(crate) async fn walk(page: &str, mut play: impl AsyncFnMut(Part) -> Option<String>) -> String {
    let mut out = String::new();
    let mut open: Option<Block> = None;
    for (at, line) in page.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        let played = line.starts_with("```") || !(fence || line.trim_start().starts_with("~~~"));
        assert!(played, "line {}: only blocks between ``` at the head of a line are played", at + 1);
        match (open.take(), fence) {
            (None, true) => {
                let language = line.trim_start_matches('`').to_owned();
                open = Some(Block { language, body: String::new(), line: at + 2 });
            }
            (None, false) => {
                if let Some(remark) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                    play(Part::Remark(remark.to_owned())).await;
                }
            }
            (Some(block), true) => {
                let written = block.body.clone();
                out.push_str(&play(Part::Block(block)).await.unwrap_or(written));
            }
            (Some(mut block), false) => {
                block.body.push_str(line);
                block.body.push('\n');
                open = Some(block);
                continue;
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    assert_eq!(open, None, "a block that does not end");
    out
}

/// A recording with the output of every command made anew. A command stands behind `$ `, its further lines behind `> `.
pub(crate) async fn record(body: &str, mut run: impl AsyncFnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        // Anything else is what was printed at some time.
        let Some(first) = line.strip_prefix("$ ") else { continue };
        let mut command = first.to_owned();
        out.push_str(&format!("{line}\n"));
        while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
            out.push_str(&format!("{more}\n"));
            command.push('\n');
            command.push_str(&more[2..]);
        }
        out.push_str(&run(&command).await);
    }
    out
}

/// The page with the output of every command in its `console` blocks made anew, and how many commands there were.
#[allow(dead_code, reason = "guides play their other blocks too")]
pub(crate) async fn play(text: &str, run: impl AsyncFn(&str) -> String) -> (String, usize) {
    let mut played = 0;
    let out = walk(text, async |part| match part {
        Part::Block(block) if block.language == "console" => {
            let anew = record(&block.body, async |command| {
                played += 1;
                run(command).await
            });
            Some(anew.await)
        }
        Part::Block(_) | Part::Remark(_) => None,
    })
    .await;
    (out, played)
}

#[test]
fn the_log_of_the_client_library_is_no_output() {
    let log = "I1128 17:37:43.441263   23301 reflector.go:664] \"Warning: watch ended with error\"\n";
    assert_eq!(without_client_log(&format!("a\n{log}b")), "a\nb");
    for line in ["I1128 is a name\n", "E1234 1:2:3 x y\n", "default   True   https://x\n", "\n"] {
        assert_eq!(without_client_log(line), line);
    }
}

#[tokio::test]
async fn every_block_and_remark_is_played_in_order() {
    let page = "text\n```console\n$ a\nold\n$ b \\\n>   c\n```\n<!-- then -->\n<!--x-->\n```yaml\nkind: X\n```\nmore\n";
    let mut seen = Vec::new();
    let played = walk(page, async |part| {
        seen.push(part.clone());
        match part {
            Part::Block(block) if block.language == "console" => {
                Some(record(&block.body, async |command| format!("new {}\n", command.len())).await)
            }
            Part::Block(_) | Part::Remark(_) => None,
        }
    })
    .await;
    let block = |language: &str, body: &str, line| {
        Part::Block(Block { language: language.to_owned(), body: body.to_owned(), line })
    };
    let console = block("console", "$ a\nold\n$ b \\\n>   c\n", 3);
    assert_eq!(seen, [console, Part::Remark("then".to_owned()), block("yaml", "kind: X\n", 11)]);
    assert_eq!(played, page.replace("old\n", "new 1\n").replace(">   c\n", ">   c\nnew 7\n"));
}

/// Without what the client library of kubectl logs beside its output: when `kubectl wait` has what it waited for, its watch
/// may end with a warning, or without one.
pub fn without_client_log(text: &str) -> String {
    // `W1128 17:37:43.441263   23301 reflector.go:664] ..`
    let is_log = |line: &str| {
        let (level, rest) = line.split_at_checked(1).unwrap_or_default();
        let (day, rest) = rest.split_at_checked(4).unwrap_or_default();
        matches!(level, "I" | "W" | "E")
            && day.bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with(' ')
            && rest.contains(".go:")
    };
    text.split_inclusive('\n').filter(|line| !is_log(line)).collect()
}
