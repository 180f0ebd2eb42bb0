//! Notes as they are written, read back, and changed by others.
#![allow(clippy::unwrap_used)]

use super::*;

fn object(uid: &str) -> Watched {
    serde_json::from_value(json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster", "spec": {},
        "metadata": { "name": "east", "namespace": "team", "uid": uid },
    }))
    .unwrap()
}

fn fields() -> Map<String, Value> {
    let fields = json!({
        "attempt": "0cb279a6-5214-450f-ac42-13073990644e", "name": "east", "localTime": "2026-01-01T00:00:00Z",
        "origin": "https://cp.example.com", "tenant": 7,
    });
    fields.as_object().unwrap().clone()
}

fn signed(mut fields: Map<String, Value>, object: &Watched, signer: &Signer) -> String {
    let parts = intent_parts(&fields, object, &key_of(object));
    let hmac = signer.sign(&strs(&parts));
    fields.insert(HMAC.to_owned(), json!(hmac));
    Value::Object(fields).to_string()
}

#[test]
fn an_intent_is_believed_as_it_was_written_and_not_otherwise() {
    let (signer, east) = (Signer::with_key(&[7; 32]), object("uid-1"));
    let intent: Intent = serde_json::from_value(Value::Object(fields())).unwrap();
    let text = write_intent(&intent, &east, &key_of(&east), &signer).unwrap();
    assert_eq!(read_intent(&text, &east, &key_of(&east), &signer), Some(intent));
    for (what, text, object) in [
        ("another name", text.replace("\"name\":\"east\"", "\"name\":\"west\""), &east),
        ("a field more", text.replacen('{', "{\"replaces\":\"0cb279a6-5214-450f-ac42-13073990644e\",", 1), &east),
        ("another object", text.clone(), &object("uid-2")),
        ("no signature", Value::Object(fields()).to_string(), &east),
        ("not an object", "[]".to_owned(), &east),
    ] {
        assert_eq!(read_intent(&text, object, &key_of(object), &signer), None, "{what}");
    }
}

#[test]
fn an_intent_of_a_newer_version_is_believed() {
    let (signer, east) = (Signer::with_key(&[7; 32]), object("uid-1"));
    let mut newer = fields();
    newer.insert("fromTheFuture".to_owned(), json!({ "a": [1, 2] }));
    let read = read_intent(&signed(newer, &east, &signer), &east, &key_of(&east), &signer).unwrap();
    assert_eq!(read, serde_json::from_value(Value::Object(fields())).unwrap());
}

fn with_notes(uuid: &str, with: &str) -> Watched {
    let mut object = object("uid-1");
    let annotations = [(CLUSTER_UUID, uuid), (REGISTERED_WITH, with)];
    object.metadata.annotations = Some(annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    object
}

#[test]
fn an_identity_is_believed_as_it_was_written_and_not_otherwise() {
    let signer = Signer::with_key(&[7; 32]);
    let identity = Identity {
        uuid: "0cb279a6-5214-450f-ac42-13073990644e".parse().unwrap(),
        provenance: Provenance::Created,
        tenant: Some(TenantId(7)),
        origin: Some(Origin::new("https://cp.example.com")),
        credential: Some(CredentialId::new("client:a")),
        created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
    };
    let key = key_of(&object("uid-1"));
    let uuid = identity.uuid.to_string();
    for written in [identity.clone(), Identity { created: None, ..identity.clone() }] {
        let text = write_identity(&written, &key, &signer).unwrap();
        let read = read_identity(&with_notes(&uuid, &text), &key, &signer);
        assert_eq!(read, (Annotated::Fits(written), false));
    }
    let text = write_identity(&identity, &key, &signer).unwrap();
    let misfit = (Annotated::Misfit(Some(identity.uuid)), false);
    for changed in [
        text.replace("Created", "Adopted"),
        text.replace("2026", "2020"),
        text.replace("\"created\":\"2026-01-01T00:00:00Z\",", ""),
        text.replace("client:a", "client:b"),
        "{}".to_owned(),
    ] {
        assert_ne!(changed, text);
        assert_eq!(read_identity(&with_notes(&uuid, &changed), &key, &signer), misfit, "{changed}");
    }
    let other = ObjectKey { name: "west".to_owned(), ..key.clone() };
    assert_eq!(read_identity(&with_notes(&uuid, &text), &other, &signer), misfit);
    let partial = Identity { tenant: None, ..identity };
    assert_eq!(write_identity(&partial, &key, &signer), None);
}
