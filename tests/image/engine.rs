//! The last stage of the Dockerfile, built by buildah over nothing but the root file system: who it runs as, what it
//! says of itself, that it comes out the same twice, and that it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testbed::{TemporaryDirectory, workspace_dir};

use crate::jail::{Jail, skip};
use crate::root::{EPOCH, lay_out};

/// buildah with a store of its own.
struct Buildah(PathBuf);

impl Buildah {
    /// `None` where it is not installed and we may skip.
    fn find(store: &Path) -> Option<Self> {
        if Command::new("buildah").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self(store.to_owned()));
        }
        skip("buildah is not installed; the last stage of the Dockerfile was not built");
        None
    }

    /// What a command prints; `None`, with the reason printed, when it fails.
    fn run(&self, args: &[&str]) -> Option<String> {
        let path = |name: &str| self.0.join(name);
        let mut command = Command::new("buildah");
        command.arg("--root").arg(path("root")).arg("--runroot").arg(path("run")).args(["--storage-driver", "vfs"]);
        let output = command.args(args).current_dir(workspace_dir()).output().unwrap();
        if !output.status.success() {
            eprintln!("buildah {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// The image's id.
    fn build(&self, root: &Path) -> String {
        let arguments: Vec<String> = [
            "BASE=scratch".to_owned(),
            "VERSION=1.2.3".to_owned(),
            "REVISION=0123456789abcdef".to_owned(),
            "CREATED=2023-11-14T22:13:20Z".to_owned(),
            "SOURCE=https://example.com/operator".to_owned(),
        ]
        .into_iter()
        .flat_map(|argument| ["--build-arg".to_owned(), argument])
        .collect();
        let (files, epoch) = (format!("files={}", root.display()), EPOCH.to_string());
        let mut args = vec!["build", "--isolation", "chroot", "--no-cache", "--quiet", "--timestamp", &epoch];
        args.extend(["--build-context", &files, "--file", "Dockerfile"]);
        args.extend(arguments.iter().map(String::as_str));
        args.push(".");
        self.run(&args).expect("the last stage builds")
    }
}

#[test]
fn the_last_stage_is_what_kubernetes_and_scanners_expect() {
    let directory = TemporaryDirectory::create().unwrap();
    let store = directory.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let Some(buildah) = Buildah::find(&store) else { return };
    // Not everywhere where it is installed it may work.
    if buildah.run(&["from", "--name", "probe", "scratch"]).is_none() {
        skip("buildah may not work here; the last stage of the Dockerfile was not built");
        return;
    }
    let bundle = directory.path().join("bundle.pem");
    std::fs::write(&bundle, "certificates").unwrap();
    let root = lay_out(directory.path(), &bundle);

    let image = buildah.build(&root);
    assert_eq!(image, buildah.build(&root), "the same input gives the same image");

    let text = buildah.run(&["inspect", "--type", "image", &image]).unwrap();
    let inspected: Value = serde_json::from_str(&text).unwrap();
    let image_config = &inspected["OCIv1"];
    assert_eq!(image_config["created"], "2023-11-14T22:13:20Z");
    let config = &image_config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/runai-cluster-operator"]));
    assert_eq!(config["Cmd"], json!(["run"]));
    let mut labels = config["Labels"].clone();
    labels.as_object_mut().unwrap().remove("io.buildah.version");
    assert_eq!(
        labels,
        json!({
            "org.opencontainers.image.title": "runai-cluster-operator",
            "org.opencontainers.image.description": env!("CARGO_PKG_DESCRIPTION"),
            "org.opencontainers.image.version": "1.2.3",
            "org.opencontainers.image.revision": "0123456789abcdef",
            "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            "org.opencontainers.image.source": "https://example.com/operator",
            "org.opencontainers.image.documentation": "https://example.com/operator/tree/0123456789abcdef/docs",
        })
    );

    runs(&buildah, &image);
}

/// Starts what lies in the image.
fn runs(buildah: &Buildah, image: &str) {
    let container = buildah.run(&["from", image]).unwrap();
    // Mounting needs root; without it the files were looked at elsewhere.
    let Some(mounted) = buildah.run(&["mount", &container]) else { return };
    let Some(jail) = Jail::find(Path::new(&mounted)) else { return };
    let wrapper = buildah.0.join("operator");
    jail.wrapper(&wrapper, &[]);
    let output = Command::new(&wrapper).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), format!("runai-cluster-operator {}", env!("CARGO_PKG_VERSION")));
    assert!(buildah.run(&["umount", &container]).is_some());
}
