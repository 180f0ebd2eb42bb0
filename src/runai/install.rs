//! The answer to "how is the agent of this cluster installed?".
//!
//! Owns which parts of it are used and what they must look like: they end up in a Secret, in Helm values and in front of
//! an installer. The shell text in it (`installationStr`) is skipped, never kept: it is untrusted and holds a secret.
//! Facts: `GET /api/v1/clusters/{uuid}/cluster-install-info`.

use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;

use super::auth::token_times;
use super::redact::Secret;
use super::wire::describe;

/// Longest credential, in bytes. Bootstrap tokens are JSON Web Tokens of some hundred.
const LONGEST_CREDENTIAL: usize = 16 * 1024;
/// Longest URL and repository name, in bytes.
const LONGEST_TEXT: usize = 2048;

/// What the installation of an agent needs, beside what its registration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallInfo {
    /// With which the agent logs in; up to 2.x.
    pub client_secret: Option<Secret>,
    /// With which the installer gets the agent's credentials; from 3.0 on, good for two hours.
    pub bootstrap_token: Option<Secret>,
    /// Where the chart is: an https URL.
    pub chart_repo_url: String,
    /// What the Helm repository is called.
    pub repository_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawInfo {
    #[serde(rename = "chartRepoURL")]
    chart_repo_url: Option<String>,
    repository_name: Option<String>,
    client_secret: Option<String>,
    bootstrap_token: Option<String>,
}

/// Decodes it. A part that is missing makes it no answer at all, so that nobody replaces a whole Secret by half of one.
/// The error repeats nothing of the body.
pub(super) fn install_info(body: &[u8]) -> Result<InstallInfo, String> {
    let raw: RawInfo = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    let credential = |field: &str, text: Option<String>| {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        // What a header or a shell could misread is none.
        if text.len() <= LONGEST_CREDENTIAL && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Some(Secret::new(text)))
        } else {
            Err(format!(
                "`{field}` is longer than {LONGEST_CREDENTIAL} bytes or holds more than printable ASCII characters"
            ))
        }
    };
    let client_secret = credential("clientSecret", raw.client_secret)?;
    let bootstrap_token = credential("bootstrapToken", raw.bootstrap_token)?;
    if client_secret.is_none() && bootstrap_token.is_none() {
        return Err("neither `clientSecret` nor `bootstrapToken` is in it".to_owned());
    }
    Ok(InstallInfo {
        client_secret,
        bootstrap_token,
        chart_repo_url: repository_url(raw.chart_repo_url)?,
        repository_name: repository_name(raw.repository_name)?,
    })
}

/// A chart is code that will run as administrator of a cluster: it comes over https, and from no address that hides a
/// credential or another host.
fn repository_url(text: Option<String>) -> Result<String, String> {
    let text = text.filter(|text| !text.is_empty()).ok_or("missing field `chartRepoURL`")?;
    let parsed = Url::parse(&text).ok().filter(|url| {
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let plain =
        text.len() <= LONGEST_TEXT && text.starts_with("https://") && text.bytes().all(|b| b.is_ascii_graphic());
    if parsed.is_some() && plain && !text.contains('\\') {
        Ok(text)
    } else {
        Err("`chartRepoURL` is not an https URL without user, password, query and fragment".to_owned())
    }
}

fn repository_name(text: Option<String>) -> Result<String, String> {
    let text = text.filter(|text| !text.is_empty()).ok_or("missing field `repositoryName`")?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if text.len() <= 253 && plain && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text)
    } else {
        Err("`repositoryName` is not a name: letters, digits, '-', '_' and '.'".to_owned())
    }
}

/// When a token was issued and when it is over, by its own unverified claims; `None` if it does not say.
#[must_use]
pub fn token_life(token: &str) -> Option<(Timestamp, Timestamp)> {
    let (issued, expires) = token_times(token);
    let time = |seconds: Option<i64>| Timestamp::from_second(seconds?).ok();
    time(issued).zip(time(expires)).filter(|(issued, expires)| issued < expires)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;

    const CANARY: &str = "canary7f3a";

    fn good() -> Value {
        json!({
            "installationStr": "helm upgrade --set controlPlane.clientSecret=canary7f3a", "repositoryName": "runai",
            "chartRepoURL": "https://charts.example.com/runai", "clientSecret": CANARY,
        })
    }

    fn read(value: &Value) -> Result<InstallInfo, String> {
        install_info(&serde_json::to_vec(value).unwrap())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut all = good();
        all[field] = value;
        all
    }

    #[test]
    fn reads_both_generations() {
        let info = read(&good()).unwrap();
        assert_eq!(info.client_secret.as_ref().unwrap().expose(), CANARY);
        assert_eq!(info.bootstrap_token, None);
        assert_eq!(info.repository_name, "runai");
        assert!(!format!("{info:?}").contains("canary"), "{info:?}");

        let mut third = with("bootstrapToken", json!("eyJ.b.c"));
        third.as_object_mut().unwrap().remove("clientSecret");
        let info = read(&third).unwrap();
        assert_eq!(info.client_secret, None);
        assert_eq!(info.bootstrap_token.unwrap().expose(), "eyJ.b.c");
    }

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let neither = "neither `clientSecret` nor `bootstrapToken`";
        let url = "`chartRepoURL` is not an https URL";
        let table = [
            (with("clientSecret", json!("")), neither),
            (with("clientSecret", Value::Null), neither),
            (with("clientSecret", json!(7)), "a field has another type"),
            (with("clientSecret", json!("canary7f3a\n--set x=y")), "`clientSecret` is longer than"),
            (with("clientSecret", json!("canary7f3a with blanks")), "`clientSecret` is longer than"),
            (with("clientSecret", json!("x".repeat(LONGEST_CREDENTIAL + 1))), "`clientSecret` is longer than"),
            (with("bootstrapToken", json!("canary\u{e4}")), "`bootstrapToken` is longer than"),
            (with("repositoryName", Value::Null), "missing field `repositoryName`"),
            (with("repositoryName", json!("-canary")), "`repositoryName` is not a name"),
            (with("repositoryName", json!("a;canary")), "`repositoryName` is not a name"),
            (with("chartRepoURL", Value::Null), "missing field `chartRepoURL`"),
            (with("chartRepoURL", json!("")), "missing field `chartRepoURL`"),
            (with("chartRepoURL", json!("http://canary.example.com")), url),
            (with("chartRepoURL", json!("https://me:canary@charts.example.com")), url),
            (with("chartRepoURL", json!("https://me@charts.example.com")), url),
            (with("chartRepoURL", json!("https:charts.example.com")), url),
            (with("chartRepoURL", json!("https://good.example.com\\@canary.example.com/")), url),
            (with("chartRepoURL", json!("https://charts.example.com/\n")), url),
            (with("chartRepoURL", json!("https://charts.example.com/?canary")), url),
            (with("chartRepoURL", json!("file:///canary")), url),
            (with("chartRepoURL", json!(format!("https://a.example/{}", "x".repeat(LONGEST_TEXT)))), url),
            (json!([]), "a field has another type"),
            (json!({}), neither),
        ];
        for (body, want) in table {
            let what = read(&body).expect_err(want);
            assert!(what.contains(want), "want {want:?}, got {what:?}");
            assert!(!what.contains("canary"), "{what}");
        }
        assert_eq!(install_info(b"<html>"), Err("it is not JSON".to_owned()));
        assert_eq!(install_info(b""), Err("the JSON is cut off".to_owned()));
    }

    #[test]
    fn a_token_says_how_long_it_lives() {
        use base64::Engine as _;
        let token = |claims: Value| {
            let part = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
            format!("eyJhbGciOiJub25lIn0.{part}.x")
        };
        let life = token_life(&token(json!({ "iat": 100, "exp": 7300 }))).unwrap();
        assert_eq!((life.0.as_second(), life.1.as_second()), (100, 7300));
        for bad in [
            json!({}),
            json!({ "exp": 7300 }),
            json!({ "iat": 7300, "exp": 100 }),
            json!({ "iat": i64::MAX, "exp": 1 }),
        ] {
            assert_eq!(token_life(&token(bad)), None);
        }
        assert_eq!(token_life("opaque"), None);
    }
}
