//! Query strings and form bodies.
//!
//! Owns decoding of `a=b&c=d`. Must not know which parameters exist.

/// Decoded pairs in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (percent_decode(key, true), percent_decode(value, true))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The last value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a repeated parameter, also split at commas.
    pub(crate) fn list(&self, key: &str) -> Vec<&str> {
        let values = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty()).collect()
    }

    /// `true`, `false`, `1` or `0` in any case; absent and empty are `None`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(Some(false)),
            Some(_) => Err(format!("parameter {key} must be true or false")),
        }
    }

    /// A whole number; absent and empty are `None`.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, String> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("parameter {key} must be a whole number")),
        }
    }
}

/// Decodes `%XX`; `+` is a space only in queries and forms. What cannot be decoded stays as it is.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let hex = || u8::from_str_radix(text.get(index + 1..index + 3)?, 16).ok();
        match byte {
            b'%' => match hex() {
                Some(value) => {
                    out.push(value);
                    index += 2;
                }
                None => out.push(byte),
            },
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn reads_what_clients_send() {
        let query =
            Query::parse("force=true&metricType=A%2CB&metricType=C&start=2023-06-06T12:09:18%2B00%3A00&x&force=0");
        assert_eq!(query.flag("force"), Ok(Some(false)));
        assert_eq!(query.list("metricType"), ["A", "B", "C"]);
        assert_eq!(query.get("start"), Some("2023-06-06T12:09:18+00:00"));
        assert_eq!(query.get("x"), Some(""));
        assert!(Query::parse("force=maybe").flag("force").is_err());
        assert_eq!(Query::parse(""), Query::default());
        assert_eq!(Query::parse("a=%zz%4").get("a"), Some("%zz%4"));
    }
}
