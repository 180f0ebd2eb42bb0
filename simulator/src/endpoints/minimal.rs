//! Minimal data of clusters: the list with its filters and the read by id.
//!
//! Owns the `filterBy` grammar. Must not know how a record looks on the wire.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::change::not_found;
use crate::endpoints::Call;
use crate::record::Record;
use crate::render::{self, Style};
use crate::reply::Reply;
use crate::state::State;
use crate::version::Version;

/// Most filters in one request.
const MOST_FILTERS: usize = 10;

impl State {
    pub(super) fn minimal_list(&mut self, call: &Call<'_>) -> Result<Reply, Reply> {
        let bad = |message: String| Reply::message(400, &message);
        let items = call.query.list("filterBy");
        if items.len() > MOST_FILTERS {
            return Err(bad(format!("at most {MOST_FILTERS} filters are allowed")));
        }
        let filters = items.into_iter().map(Filter::parse).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        let offset = call.query.number("offset").map_err(bad)?.unwrap_or(0);
        let limit = call.query.number("limit").map_err(bad)?.unwrap_or(50);
        let (Ok(offset), true) = (usize::try_from(offset), (1..=500).contains(&limit)) else {
            return Err(bad("offset must be at least 0, limit must be 1 to 500".to_owned()));
        };
        let limit = usize::try_from(limit).unwrap_or(50);
        let (config, caps) = (Arc::clone(&self.config), self.caps);
        let mut past = self.past(call);
        let style = Style { config: &config, caps: &caps, now: past.as_ref().map_or(call.now, |(_, then)| *then) };
        let view = past.as_ref().map_or(&self.store, |(store, _)| store);
        let shown = |uuid: &Uuid| {
            view.get(*uuid).is_some_and(|record| {
                let visible = self.sees(call.session, record) && !record.is_deleting();
                visible && filters.iter().all(|filter| filter.accepts(record, style))
            })
        };
        let ids: Vec<_> = view.live_ids().into_iter().filter(shown).skip(offset).take(limit).collect();
        let view = past.as_mut().map_or(&mut self.store, |(store, _)| store);
        let mut body = r#"{"clusters":["#.to_owned();
        for (index, uuid) in ids.into_iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            if let Some(record) = view.observe(uuid) {
                render::minimal(&mut body, record, style);
            }
        }
        body.push_str("]}");
        Ok(Reply::json(200, body))
    }

    pub(super) fn minimal(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let (config, caps) = (Arc::clone(&self.config), self.caps);
        let mut past = self.past(call);
        let now = past.as_ref().map_or(call.now, |(_, then)| *then);
        self.visible(past.as_ref().map_or(&self.store, |(store, _)| store), call.session, uuid)?;
        let view = past.as_mut().map_or(&mut self.store, |(store, _)| store);
        let record = view.observe(uuid).ok_or_else(not_found)?;
        let mut body = String::new();
        render::minimal(&mut body, record, Style { config: &config, caps: &caps, now });
        Ok(Reply::json(200, body))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Uuid,
    Version,
    Domain,
    State,
    TenantId,
    CreatedAt,
    UpdatedAt,
}

/// `field operator value`, such as `name==my-cluster`.
#[derive(Debug)]
struct Filter {
    field: Field,
    operator: Operator,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let operators =
            [("==", Operator::Equal), ("!=", Operator::NotEqual), ("<=", Operator::AtMost), (">=", Operator::AtLeast)];
        let split = |(sign, operator): (&str, Operator)| {
            text.split_once(sign).map(|(field, value)| (field.trim(), operator, value.trim().to_owned()))
        };
        let (name, operator, value) =
            operators.into_iter().find_map(split).ok_or_else(|| format!("filter {text:?} has no known operator"))?;
        let field = match name {
            "name" => Field::Name,
            "uuid" => Field::Uuid,
            "version" => Field::Version,
            "domain" => Field::Domain,
            "state" => Field::State,
            "tenantId" => Field::TenantId,
            "createdAt" => Field::CreatedAt,
            "updatedAt" => Field::UpdatedAt,
            other => return Err(format!("field {other:?} cannot be filtered by")),
        };
        let ordered = matches!(operator, Operator::AtMost | Operator::AtLeast);
        match field {
            Field::CreatedAt | Field::UpdatedAt if value.parse::<Timestamp>().is_err() => {
                Err(format!("filter {text:?} needs a time"))
            }
            Field::Version if ordered && Version::parse(&value).is_none() => {
                Err(format!("filter {text:?} needs a version"))
            }
            Field::Name | Field::Uuid | Field::Domain | Field::State | Field::TenantId if ordered => {
                Err(format!("filter {text:?}: this field has no order"))
            }
            _ => Ok(Self { field, operator, value }),
        }
    }

    /// A field without a value fits `!=` alone.
    fn accepts(&self, record: &Record, style: Style<'_>) -> bool {
        let Style { config, caps: _, now } = style;
        let same = |text: &str| if text == self.value { Ordering::Equal } else { Ordering::Less };
        let time = |at: Option<Timestamp>| Some(at?.cmp(&self.value.parse().ok()?));
        let ordering = match self.field {
            Field::Name => Some(same(&record.name)),
            Field::Uuid => Some(same_uuid(record.uuid, &self.value)),
            Field::Domain => record.domain(now, config).map(same),
            Field::State => Some(same(render::shown_state(record, record.derived_state(now, config)))),
            Field::TenantId => Some(same(&record.tenant_id.to_string())),
            Field::CreatedAt => time(Some(record.created_at)),
            Field::UpdatedAt => time(record.updated_at),
            Field::Version => record.version(now, config).map(|version| {
                match (Version::parse(version), Version::parse(&self.value)) {
                    (Some(have), Some(want)) => have.cmp(&want),
                    _ => same(version),
                }
            }),
        };
        match self.operator {
            Operator::Equal => ordering == Some(Ordering::Equal),
            Operator::NotEqual => ordering != Some(Ordering::Equal),
            Operator::AtMost => ordering.is_some_and(Ordering::is_le),
            Operator::AtLeast => ordering.is_some_and(Ordering::is_ge),
        }
    }
}

fn same_uuid(uuid: Uuid, text: &str) -> Ordering {
    if Uuid::try_parse(text) == Ok(uuid) { Ordering::Equal } else { Ordering::Less }
}
