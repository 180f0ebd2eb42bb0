//! `inventory`: which registrations a control plane holds, and which objects they belong to.
//!
//! Owns the words for that. Who owns what is the controller's own book.

use std::collections::HashSet;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use crate::controller::rehearsal::{Flags, Rehearsal};
use crate::domain::{ClusterState, ObjectKey, RemoteCluster};

use super::CliError;
use super::connect::ConnectArgs;
use super::output::{self, Format, cell, count, note};

/// Flags of `inventory`.
#[derive(Debug, Args)]
pub(super) struct InventoryArgs {
    #[command(flatten)]
    connect: ConnectArgs,

    /// How the list is written.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Show only registrations of these kinds, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,..")]
    only: Vec<Kind>,
}

/// How a registration stands with the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// One object owns it.
    Managed,
    /// No object owns it.
    Unmanaged,
    /// Several objects claim it; the oldest owns it.
    ClaimedTwice,
    /// Its deletion was asked for.
    Deleting,
    /// Without Kubernetes nobody can say.
    Unknown,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Unmanaged => "unmanaged",
            Self::ClaimedTwice => "claimed-twice",
            Self::Deleting => "deleting",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inventory {
    control_plane: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<i64>,
    counts: Counts,
    registrations: Vec<Registration>,
}

/// Of all registrations, whatever `--only` shows.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    total: usize,
    managed: usize,
    unmanaged: usize,
    claimed_twice: usize,
    deleting: usize,
    #[serde(skip_serializing_if = "is_zero")]
    unknown: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    kind: Kind,
    name: String,
    uuid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_liveness: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_requested_at: Option<Timestamp>,
    /// The objects that claim it, its owner first.
    objects: Vec<String>,
}

pub(super) async fn execute(args: InventoryArgs) -> Result<ExitCode, CliError> {
    let mut opened = args.connect.open().await?;
    let name = &args.connect.control_plane;
    if opened.kube().is_none() {
        note("without Kubernetes nobody can say which registrations are managed: they are shown as unknown");
    }
    let objects = std::mem::take(&mut opened.objects);
    let rehearsal = opened.rehearse(Flags::default(), None, objects)?;
    opened.connect(&rehearsal, name).await?;
    let (client, snapshot) = rehearsal.list(name).await.map_err(|trouble| CliError::control_plane(name, &trouble))?;

    let mut records: Vec<_> = snapshot.iter().filter(|record| record.deleted_at.is_none()).collect();
    records.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let with_kubernetes = opened.kube().is_some();
    let mut registrations: Vec<_> = records
        .iter()
        .map(|record| registration(record, with_kubernetes, &rehearsal.claimants(name, record.uuid)))
        .collect();
    let counts = counts(&registrations);
    if !args.only.is_empty() {
        registrations.retain(|registration| args.only.contains(&registration.kind));
    }
    tell_unlisted(&rehearsal, name, &records.iter().map(|record| record.uuid).collect());
    let url = client.origin().to_string();
    let tenant_id = snapshot.tenant().map(|tenant| tenant.0);
    let inventory = Inventory { control_plane: name.clone(), url, tenant_id, counts, registrations };
    output::data(&match args.output {
        Format::Table => table(&inventory),
        Format::Json => output::json(&inventory)?,
        Format::Yaml => output::yaml(&inventory)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn registration(record: &RemoteCluster, with_kubernetes: bool, claimants: &[ObjectKey]) -> Registration {
    let kind = match claimants {
        _ if record.is_deleting() => Kind::Deleting,
        _ if !with_kubernetes => Kind::Unknown,
        [] => Kind::Unmanaged,
        [_] => Kind::Managed,
        [..] => Kind::ClaimedTwice,
    };
    Registration {
        kind,
        name: record.name.clone(),
        uuid: record.uuid.to_string(),
        state: record.state.as_ref().map(ClusterState::as_str).map(str::to_owned),
        version: record.version.clone(),
        domain: record.domain.as_ref().map(ToString::to_string),
        created_at: record.created_at,
        last_liveness: record.last_liveness,
        delete_requested_at: record.delete_requested_at,
        objects: claimants.iter().map(ToString::to_string).collect(),
    }
}

fn counts(registrations: &[Registration]) -> Counts {
    let mut counts = Counts { total: registrations.len(), ..Counts::default() };
    for registration in registrations {
        *match registration.kind {
            Kind::Managed => &mut counts.managed,
            Kind::Unmanaged => &mut counts.unmanaged,
            Kind::ClaimedTwice => &mut counts.claimed_twice,
            Kind::Deleting => &mut counts.deleting,
            Kind::Unknown => &mut counts.unknown,
        } += 1;
    }
    counts
}

/// Objects whose registration no list shows would be missing without a word.
fn tell_unlisted(rehearsal: &Rehearsal, name: &str, listed: &HashSet<crate::domain::ClusterUuid>) {
    for (uuid, object) in rehearsal.claimed(name).iter().filter(|(uuid, _)| !listed.contains(uuid)) {
        note(&format!("RunaiCluster {object} claims registration {uuid}, which is not listed"));
    }
}

fn table(inventory: &Inventory) -> String {
    let rows: Vec<_> = inventory
        .registrations
        .iter()
        .map(|registration| {
            let objects = registration.objects.join(",");
            vec![
                registration.kind.as_str().to_owned(),
                registration.name.clone(),
                registration.uuid.clone(),
                cell(registration.state.as_ref()),
                cell(registration.version.as_ref()),
                cell(registration.last_liveness),
                cell(Some(objects).filter(|objects| !objects.is_empty())),
            ]
        })
        .collect();
    let Counts { total, managed, unmanaged, claimed_twice, deleting, unknown } = inventory.counts;
    note(&format!(
        "{} at {}: {managed} managed, {unmanaged} unmanaged, {claimed_twice} claimed twice, {deleting} deleting{}",
        count(total, "registration"),
        inventory.url,
        if unknown > 0 { format!(", {unknown} unknown") } else { String::new() },
    ));
    output::table(&["KIND", "NAME", "UUID", "STATE", "VERSION", "LAST-SEEN", "OBJECTS"], &rows)
}
