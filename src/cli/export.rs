//! `export`: every registration of a control plane as a RunaiCluster that adopts it.
//!
//! Owns what is exported and what is left out, with the reason. Applied, the objects cause no change in the control
//! plane: each adopts by uuid, asks for the name that is there, and leaves the registration when it is deleted.

mod names;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::{API_VERSION, Watched};
use crate::controller::rehearsal::{Flags, Rehearsal};
use crate::domain::{ClusterDomain, ClusterName, ClusterUuid, RemoteCluster};

use super::CliError;
use super::connect::ConnectArgs;
use super::output::{self, count, note};

/// Flags of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    connect: ConnectArgs,

    /// The namespace of the objects. Default: none is written, so that `kubectl apply -n` decides.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Write one file for each object into this directory, which is made if it is not there. Default: all objects go to
    /// standard output.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// An object with the few fields that it needs. The version is left out: it is what one wishes for, and what runs changes
/// with every upgrade of the agent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    control_plane_ref: Reference<'a>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<ClusterDomain>,
    adoption: Adoption,
    deletion: Deletion,
}

#[derive(Serialize)]
struct Reference<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Adoption {
    uuid: ClusterUuid,
}

#[derive(Serialize)]
struct Deletion {
    policy: &'static str,
}

pub(super) async fn execute(args: ExportArgs) -> Result<ExitCode, CliError> {
    let mut opened = args.connect.open().await?;
    let name = &args.connect.control_plane;
    if opened.kube().is_none() {
        note("without Kubernetes nobody can say which registrations are managed already: all are exported");
    }
    let objects = std::mem::take(&mut opened.objects);
    let taken = taken(&objects, args.namespace.as_deref());
    let rehearsal = opened.rehearse(Flags::default(), None, objects)?;
    opened.connect(&rehearsal, name).await?;
    let (_, snapshot) = rehearsal.list(name).await.map_err(|trouble| CliError::control_plane(name, &trouble))?;

    let mut records: Vec<&RemoteCluster> = snapshot.iter().map(AsRef::as_ref).collect();
    records.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let mut skipped = 0;
    records.retain(|record| match unfit(&rehearsal, name, record) {
        None => true,
        Some(why) => {
            skipped += 1;
            note(&format!("skipped {:?} ({}): {why}", record.name, record.uuid));
            false
        }
    });
    let exported: Vec<_> = names::object_names(&records, &taken)
        .into_iter()
        .zip(&records)
        .map(|(object, record)| manifest(object, name, args.namespace.as_deref(), record))
        .collect();
    match &args.output_dir {
        Some(directory) => {
            let file = |manifest: &Manifest<'_>| {
                let text = documents(std::slice::from_ref(manifest))?;
                Ok((format!("{}.yaml", manifest.metadata.name), text))
            };
            let files: Vec<_> = exported.iter().map(file).collect::<Result<_, CliError>>()?;
            output::files(directory, &files)?;
        }
        None => output::data(&documents(&exported)?)?,
    }
    if let (Some(_), Some(namespace)) = (opened.kube(), &args.namespace) {
        opened.label(&rehearsal, [namespace.as_str()]).await?;
        if !rehearsal.may_adopt(name, namespace) {
            note(&format!(
                "namespace {namespace} may not adopt: let spec.adoptionNamespaces of RunaiControlPlane {name:?} select it before \
                 these objects are applied"
            ));
        }
    }
    note(&format!("{} exported, {skipped} skipped", count(exported.len(), "registration")));
    Ok(ExitCode::SUCCESS)
}

/// Names that objects of the target namespace have: applying over one of them would change what it is about.
fn taken(objects: &[Watched], namespace: Option<&str>) -> HashSet<String> {
    let counts = |object: &&Watched| namespace.is_none_or(|namespace| object.namespace().as_deref() == Some(namespace));
    objects.iter().filter(counts).map(ResourceExt::name_any).collect()
}

/// Why a registration is not exported, if so.
fn unfit(rehearsal: &Rehearsal, control_plane: &str, record: &RemoteCluster) -> Option<String> {
    if let Some(at) = record.deleted_at {
        return Some(format!("it was deleted at {at}"));
    }
    if let Some(at) = record.delete_requested_at {
        return Some(format!("its deletion was requested at {at}"));
    }
    if let Some(owner) = rehearsal.claimants(control_plane, record.uuid).first() {
        return Some(format!("RunaiCluster {owner} manages it"));
    }
    // What was unprintable is not known any more (see `runai::wire`), so that the object would ask for another name.
    if record.name.contains(char::REPLACEMENT_CHARACTER) {
        return Some("its name holds characters that an object cannot ask for; rename it first".to_owned());
    }
    ClusterName::parse(&record.name).err().map(|error| format!("spec.{error}; rename it first"))
}

fn manifest<'a>(
    object: String,
    control_plane: &'a str,
    namespace: Option<&'a str>,
    record: &'a RemoteCluster,
) -> Manifest<'a> {
    let domain = record.domain.as_ref().and_then(|domain| match ClusterDomain::parse(domain.as_str()) {
        Ok(domain) => Some(domain),
        Err(error) => {
            note(&format!("{:?} ({}): left out spec.{error}", record.name, record.uuid));
            None
        }
    });
    Manifest {
        api_version: API_VERSION,
        kind: "RunaiCluster",
        metadata: Metadata { name: object, namespace },
        spec: Spec {
            control_plane_ref: Reference { name: control_plane },
            name: &record.name,
            domain,
            adoption: Adoption { uuid: record.uuid },
            deletion: Deletion { policy: "Orphan" },
        },
    }
}

/// Documents that may follow each other: files, too, are often put together.
fn documents(exported: &[Manifest<'_>]) -> Result<String, CliError> {
    let mut text = String::new();
    for manifest in exported {
        text.push_str("---\n");
        text.push_str(&output::yaml(manifest)?);
    }
    Ok(text)
}
