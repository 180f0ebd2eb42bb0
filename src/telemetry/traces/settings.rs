//! Whether the environment asks for traces.
//!
//! Owns the variables that the exporter's own crates do not read, and what cannot be followed. Those crates read the rest:
//! headers, time-out, compression, sampler, batch sizes. Names and meaning are the OpenTelemetry specification's
//! ("Environment Variable Specification" and "OpenTelemetry Protocol Exporter").

use thiserror::Error;

/// `true` turns everything off.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// `none` turns traces off.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// Where traces go: the first that is set. Without one nothing is sent, unlike the specification, whose default is the
/// local host: in a pod there is nobody.
pub(super) const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// How they are sent: the first that is set.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// The one protocol that is built in.
const PROTOCOL: &str = "http/protobuf";

/// Why no traces are sent although an endpoint is set.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TracesError {
    /// Another exporter than OTLP.
    #[error(
        "no traces: {EXPORTER} asks for an exporter that is not there; unset it, or set it to \"otlp\" or \"none\""
    )]
    Exporter,
    /// gRPC, for example.
    #[error(
        "no traces: {0} asks for a protocol that is not there; set it to \"{PROTOCOL}\", and the endpoint to the \
         collector's port for that, mostly 4318"
    )]
    Protocol(&'static str),
    /// Not a URL.
    #[error("no traces: {0} must be a URL such as http://collector.monitoring:4318")]
    Endpoint(&'static str),
    /// Built without the feature `otlp`.
    #[error("no traces: this binary was built without the feature \"otlp\"; use the image of the release, or unset {}", ENDPOINTS[1])]
    NotBuiltIn,
    /// The exporter refused its other variables, or TLS cannot be set up.
    #[error("no traces: the exporter cannot be set up: {0}; see the OTEL_* variables")]
    SetUp(String),
}

/// Whether traces are to be sent. `read` is the environment; an empty variable counts as unset.
pub(super) fn wanted(read: impl Fn(&str) -> Option<String>) -> Result<bool, TracesError> {
    let value = |name: &str| read(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, value(name)?)));
    if value(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    let Some((endpoint, address)) = first(ENDPOINTS) else { return Ok(false) };
    match value(EXPORTER).as_deref() {
        Some("none") => return Ok(false),
        None | Some("otlp") => {}
        Some(_) => return Err(TracesError::Exporter),
    }
    if let Some((name, protocol)) = first(PROTOCOLS)
        && !protocol.eq_ignore_ascii_case(PROTOCOL)
    {
        return Err(TracesError::Protocol(name));
    }
    let usable = address.parse::<http::Uri>().is_ok_and(|uri| {
        uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if usable { Ok(true) } else { Err(TracesError::Endpoint(endpoint)) }
}

#[cfg(test)]
mod tests {
    use super::{TracesError, wanted};

    type Row<'a> = (&'a [(&'a str, &'a str)], Result<bool, TracesError>);

    #[test]
    fn traces_are_sent_only_where_an_endpoint_is_named_and_nothing_speaks_against_it() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let table: &[Row<'_>] = &[
            (&[], Ok(false)),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], Ok(false)),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], Ok(false)),
            (&[on], Ok(true)),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/v1/traces")], Ok(true)),
            (&[on, ("OTEL_SDK_DISABLED", "TRUE")], Ok(false)),
            (&[on, ("OTEL_SDK_DISABLED", "false")], Ok(true)),
            (&[on, ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "zipkin")], Ok(false)),
            (&[on, ("OTEL_TRACES_EXPORTER", "none")], Ok(false)),
            (&[on, ("OTEL_TRACES_EXPORTER", "otlp")], Ok(true)),
            (&[on, ("OTEL_TRACES_EXPORTER", "zipkin")], Err(TracesError::Exporter)),
            (&[on, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], Ok(true)),
            (&[on, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Err(TracesError::Protocol("OTEL_EXPORTER_OTLP_PROTOCOL"))),
            (
                &[on, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                Ok(true),
            ),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")],
                Err(TracesError::Endpoint("OTEL_EXPORTER_OTLP_ENDPOINT")),
            ),
            (
                &[on, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector:4317")],
                Err(TracesError::Endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")),
            ),
        ];
        for (variables, want) in table {
            let read = |name: &str| {
                variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(wanted(read), *want, "{variables:?}");
        }
    }
}
