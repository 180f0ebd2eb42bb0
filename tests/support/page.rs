//! Pages with recordings of commands: the commands are run again, and what they print takes the old output's place.
//!
//! Owns what a recording looks like in a page. Must not know any command.

/// The page with the output of every command in its `console` blocks made anew, and how many commands there were.
pub async fn play(text: &str, run: impl AsyncFn(&str) -> String) -> (String, usize) {
    let (mut out, mut recording, mut played) = (String::new(), false, 0);
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| recording) {
            out.push_str(&format!("{line}\n{}", run(command).await));
            played += 1;
        } else if !recording || line == "```" {
            out.push_str(line);
            out.push('\n');
        }
        recording = match line {
            "```console" => true,
            "```" => false,
            _ => recording,
        };
    }
    (out, played)
}
