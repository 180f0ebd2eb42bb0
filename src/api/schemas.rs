//! Hand-written schema parts, for types that bring none.
//!
//! Owns their shape in the CRD. Must not know the types' meaning.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{install, rules};

/// An RFC 3339 time.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// A text that is not judged: what the control plane says.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// An object whose fields are the operator's own business.
pub(super) fn internal_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// `spec.deletion.policy`. By hand, since the generated schema of an optional enum describes the type, not the field.
pub(super) fn deletion_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["Delete", "Orphan"] })
}

/// `spec.installInfo.labels`.
pub(super) fn secret_labels(_: &mut SchemaGenerator) -> Schema {
    let value = rules::label_value("installInfo.labels");
    keyed(
        "installInfo.labels",
        &json_schema!({
            "type": "string",
            "maxLength": install::LONGEST_LABEL,
            "x-kubernetes-validations": [value],
        }),
    )
}

/// `spec.installInfo.annotations`.
pub(super) fn secret_annotations(_: &mut SchemaGenerator) -> Schema {
    keyed("installInfo.annotations", &json_schema!({ "type": "string", "maxLength": install::LONGEST_ANNOTATION }))
}

/// A map whose keys are qualified names that nobody else owns.
fn keyed(field: &str, value: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": install::MOST_KEYS,
        "additionalProperties": value,
        "x-kubernetes-validations": rules::metadata_keys(field, &install::RESERVED),
    })
}

/// The standard condition list, one entry per type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What the condition speaks of.",
                    "minLength": 1,
                    "maxLength": 316,
                },
                "status": {
                    "type": "string",
                    "description": "True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "metadata.generation that the condition speaks of.",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "reason": {
                    "type": "string",
                    "description": "Why, in one word for machines.",
                    "minLength": 1,
                    "maxLength": 1024,
                },
                "message": {
                    "type": "string",
                    "description": "Why, for people: what happened and what to do.",
                    "maxLength": 32768,
                },
            },
        },
    })
}
