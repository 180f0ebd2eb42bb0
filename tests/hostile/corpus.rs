//! Every file of the fuzz corpus through its target, on stable Rust: what was found once is never found again.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::PathBuf;

#[test]
fn every_target_holds_over_its_corpus() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut broken = Vec::new();
    for (name, target) in targets::TARGETS {
        let files: Vec<_> = std::fs::read_dir(root.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 8, "{name}: {} files", files.len());
        for path in files {
            let data = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
