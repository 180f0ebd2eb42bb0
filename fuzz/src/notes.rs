//! Annotations and their signatures. The key of the corpus is thirty-two sevens.

use runai_cluster_operator::api::{CLUSTER_UUID, FINALIZER, Watched};
use runai_cluster_operator::controller::fuzzing::Notes;
use runai_cluster_operator::domain::{Annotated, Marks, Memory};

use super::object::merge;

pub fn notes(data: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Watched>(data) else { return };
    let (ours, foreign) = (Notes::with_key(&[7; 32]), Notes::with_key(&[8; 32]));
    let memory = Memory::default();
    let read = ours.read(&object, &memory);
    let by_others = foreign.read(&object, &memory);
    let fits = |annotated: &Annotated| matches!(annotated, Annotated::Fits(_));
    assert!(!fits(&read.annotated) || !fits(&by_others.annotated), "one signature, two keys");
    assert!(!read.intent_annotated || !by_others.intent_annotated, "one signature, two keys");
    assert!(!(read.intent_annotated && read.foreign_intent));

    let identity = match &read.annotated {
        Annotated::Fits(identity) => {
            let plain = object.metadata.annotations.as_ref().and_then(|all| all.get(CLUSTER_UUID));
            let same = plain.is_none_or(|text| text.parse() == Ok(identity.uuid));
            assert!(same, "the plain uuid is another one: {plain:?}");
            assert_eq!(read.incomplete, plain.is_none());
            Some(identity.clone())
        }
        Annotated::Nothing | Annotated::Misfit(_) => None,
    };
    // What is written is what is read, however the object looked before.
    let marks = Marks { identity, intent: read.intent.clone() };
    let mut stored = serde_json::to_value(&object).expect("it is JSON");
    merge(&mut stored, &ours.mark(&object, &marks));
    let marked: Watched = serde_json::from_value(stored).expect("a patch of metadata");
    let again = ours.read(&marked, &memory);
    match &marks.identity {
        Some(identity) => assert_eq!(again.annotated, Annotated::Fits(identity.clone())),
        None => assert_eq!(again.annotated, Annotated::Nothing),
    }
    assert_eq!((again.intent_annotated, again.foreign_intent), (marks.intent.is_some(), false));
    assert_eq!(again.intent, marks.intent);
    let finalizers = marked.metadata.finalizers.unwrap_or_default();
    let held = finalizers.iter().filter(|finalizer| *finalizer == FINALIZER).count();
    assert!(held >= 1 || object.is_deleted(), "a mark comes with the finalizer: {finalizers:?}");
}
