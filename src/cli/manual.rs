//! `completions` and `man`: what the command line says of itself, in other forms.
//!
//! Owns where that text goes. The text is generated from the flags, so that it cannot differ from them.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::CliError;
use super::output::{self, count, note};

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that reads them.
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write one file for each command into this directory, which is made if it is not there. Default: all pages go to
    /// standard output.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Prints the completions of the program by the name that it was called with.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command, program: &str) -> Result<ExitCode, CliError> {
    // In bash, clap_complete 4.6.11 loses the subcommands of a program with a hyphen in its name (clap issue 6421): the
    // functions get a name without, and are registered for the true one.
    let bash = args.shell == Shell::Bash;
    let name = if bash { program.replace('-', "_") } else { program.to_owned() };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if bash {
        script = script.replace(&format!(" -o default {name}\n"), &format!(" -o default {program}\n"));
    }
    output::data(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of the program and of each command.
pub(super) fn man(args: &ManArgs, mut command: Command) -> Result<ExitCode, CliError> {
    command.build();
    let mut pages = Vec::new();
    render(&command, &mut pages)?;
    let Some(directory) = &args.output_dir else {
        output::data(&pages.iter().map(|(_, page)| page.as_str()).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    };
    output::files(directory, &pages)?;
    note(&format!("{} written to {}", count(pages.len(), "man page"), directory.display()));
    Ok(ExitCode::SUCCESS)
}

fn render(command: &Command, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((man.get_filename(), String::from_utf8_lossy(&page).into_owned()));
    // clap's own `help` has nothing to say.
    command.get_subcommands().filter(|sub| sub.get_name() != "help").try_for_each(|sub| render(sub, pages))
}
