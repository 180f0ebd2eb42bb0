//! `plan`: what the operator would do for the objects in a file.
//!
//! Owns which objects are asked about and the exit code. Decides nothing: the looks and the plan are the controller's
//! own, and `words` puts their outcome.

mod documents;
mod words;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::api::Watched;
use crate::controller::rehearsal::{Flags, Rehearsal};
use crate::domain::{DeletionPolicy, ObjectKey};

use super::CliError;
use super::connect::{ConnectArgs, Opened};
use super::output::{self, count, note};
use super::run::{Policy, period};
use words::{Document, Outcome, Verdict};

pub(super) use documents::DocumentError;

/// Exit code: the operator would change something.
const CHANGES: u8 = 3;

/// Flags of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    connect: ConnectArgs,

    /// A file with RunaiClusters as YAML or JSON, several documents and lists included; `-` reads standard input. Objects
    /// of other kinds are passed over. May be given several times.
    #[arg(short, long, value_name = "FILE", required = true)]
    filename: Vec<String>,

    /// The namespace of objects that name none. Default: that of the kubeconfig's context.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// How the plan is written.
    #[arg(short, long, value_enum, default_value_t)]
    output: PlanFormat,

    /// The operator's own flag of that name.
    #[arg(long, env = "RUNAI_OPERATOR_DEFAULT_DELETION_POLICY", value_enum, default_value_t = Policy::Delete)]
    default_deletion_policy: Policy,

    /// The operator's own flag of that name.
    #[arg(long, env = "RUNAI_OPERATOR_CREATE_QUARANTINE", value_name = "DURATION", default_value = "2m", value_parser = period)]
    create_quarantine: Duration,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PlanFormat {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

pub(super) async fn execute(args: PlanArgs) -> Result<ExitCode, CliError> {
    let manifests = documents::read(&args.filename).map_err(CliError::Document)?;
    let mut opened = args.connect.open().await?;
    let context = opened.kube().map_or("default", |kube| kube.namespace.as_str()).to_owned();
    let keys = documents::keys(&manifests, args.namespace.as_deref(), &context).map_err(CliError::Document)?;
    let mut objects = std::mem::take(&mut opened.objects);
    let refusals = documents::lay_over(&mut objects, &keys, &manifests);
    let rehearsal = prepare(&args, &opened, &keys, objects).await?;
    let mut document = Document { objects: Vec::new() };
    for (key, refusal) in keys.into_iter().zip(refusals) {
        match refusal {
            Some(why) => document.objects.push(Verdict::refused(key, &why)),
            None => {
                let plan = rehearsal.plan(&key).await;
                document.objects.extend(plan.map(|plan| Verdict::new(key, plan)));
            }
        }
    }
    match args.output {
        PlanFormat::Table => output::data(&words::table(&document.objects))?,
        PlanFormat::Json => output::data(&output::json(&document)?)?,
    }
    Ok(sum_up(&document.objects))
}

/// Says how many objects came out how, and what that means for the exit code.
fn sum_up(verdicts: &[Verdict]) -> ExitCode {
    let (mut changes, mut failures) = (0, 0);
    for verdict in verdicts {
        match verdict.outcome {
            Outcome::Change => changes += 1,
            Outcome::NoChange => {}
            Outcome::Stalled | Outcome::Unknown | Outcome::Refused => failures += 1,
        }
    }
    note(&format!(
        "{}: {changes} to change, {} to leave as they are, {failures} that need a person or cannot be planned",
        count(verdicts.len(), "object"),
        verdicts.len() - changes - failures,
    ));
    match (failures, changes) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(CHANGES),
        (_, _) => ExitCode::FAILURE,
    }
}

/// Makes everything known that the plans depend on.
async fn prepare(
    args: &PlanArgs,
    opened: &Opened,
    keys: &[ObjectKey],
    objects: Vec<Watched>,
) -> Result<Rehearsal, CliError> {
    let flags = Flags {
        default_deletion: match args.default_deletion_policy {
            Policy::Delete => DeletionPolicy::Delete,
            Policy::Orphan => DeletionPolicy::Orphan,
        },
        create_quarantine: args.create_quarantine,
    };
    let signer = opened.signer().await;
    let rehearsal = opened.rehearse(flags, signer, objects)?;
    let names: BTreeSet<_> = keys.iter().filter_map(|key| rehearsal.control_plane_of(key)).collect();
    if opened.kube().is_some() {
        for name in &names {
            opened.connect(&rehearsal, name).await?;
        }
        let namespaces: BTreeSet<_> = keys.iter().map(|key| key.namespace.as_str()).collect();
        opened.label(&rehearsal, namespaces).await?;
        return Ok(rehearsal);
    }
    note(
        "without Kubernetes every object counts as new, its annotations as genuine, and every namespace as one that may adopt",
    );
    let own = &args.connect.control_plane;
    opened.connect(&rehearsal, own).await?;
    for name in names.iter().filter(|name| *name != own) {
        note(&format!(
            "objects of control plane {name:?} cannot be planned: the credentials count for {own:?} (--control-plane)"
        ));
    }
    Ok(rehearsal)
}
