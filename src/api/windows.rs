//! Our own routes: maintenance windows (api-ref: `windows.md`), and how a request says when an upgrade begins.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::request::{Body, Call, Keyed, Route, json as answer};
use crate::api::shapes::{PolicyRequest, WindowRequest};
use crate::commands::policies;
use crate::commands::windows::{self, Seen};
use crate::domain::build_upgrades::Policy;
use crate::domain::caller::Caller;
use crate::domain::ids::InstanceId;
use crate::domain::policy::Rule;
use crate::domain::refusal::Refusal;
use crate::domain::timing::{self, Timing, WrongTime};
use crate::domain::window::{Days, LEAST_MINUTES, MOST_MINUTES, Window, clock, of_clock};

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/window",
        Rule::InstanceRead,
        Doc::new("showInstanceWindow", "The window in which an instance is upgraded", "windows.md")
            .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(show(call, caller, true)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}/window",
        Rule::InstanceUpdate,
        Doc::new("setInstanceWindow", "Give an instance a window of its own", "windows.md")
            .takes::<WindowRequest>(sample!("window-request"))
            .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(set(call, caller, true)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}/window",
        Rule::InstanceUpdate,
        Doc::new("dropInstanceWindow", "Have an instance follow its project's window again", "windows.md")
            .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(drop_window(call, caller, true)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/upgrade-policy",
        Rule::InstanceRead,
        Doc::new("showUpgradePolicy", "Whether newer builds come without being asked for", "windows.md")
            .gives(200, Gives::One("upgrade_policy", shape::<PolicyView>)),
        |call, caller| Box::pin(show_policy(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}/upgrade-policy",
        Rule::InstanceUpdate,
        Doc::new("setUpgradePolicy", "Have newer builds come in the window, or not", "windows.md")
            .takes::<PolicyRequest>(sample!("upgrade-policy-request"))
            .gives(200, Gives::One("upgrade_policy", shape::<PolicyView>))
            .refuses(&[422]),
        |call, caller| Box::pin(set_policy(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/window",
        Rule::InstanceRead,
        Doc::new(
            "showWindow",
            "The window of a project's instances that have none of their own",
            "windows.md",
        )
        .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(show(call, caller, false)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/window",
        Rule::InstanceUpdate,
        Doc::new("setWindow", "Give a project a window", "windows.md")
            .takes::<WindowRequest>(sample!("window-request"))
            .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(set(call, caller, false)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/window",
        Rule::InstanceUpdate,
        Doc::new("dropWindow", "Take a project's window away", "windows.md")
            .gives(200, Gives::One("window", shape::<WindowView>)),
        |call, caller| Box::pin(drop_window(call, caller, false)),
    ),
];

/// A window, and when it opens.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowView {
    /// `mon` to `sun`.
    days: Vec<&'static str>,
    /// When it begins, by the clocks of its zone: `02:00`.
    start: String,
    /// How long it lasts.
    minutes: u16,
    /// The zone's name in the IANA database.
    zone: &'static str,
    /// Where it comes from: `instance`, `project` or `default`.
    source: &'static str,
    /// When it opens next, in UTC.
    next_start: String,
    /// When it closes then.
    next_end: String,
    /// Until when it is open now, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_until: Option<String>,
}

impl WindowView {
    /// The view; `None` where the calendar ends.
    fn of(seen: &Seen) -> Option<Self> {
        let Seen { window, source, now } = seen;
        let next = window.next(*now)?;
        Some(Self {
            days: window.days().words(),
            start: clock(window.start()),
            minutes: window.minutes(),
            zone: window.zone().name(),
            source: source.as_str(),
            next_start: utc(next.start),
            next_end: utc(next.end),
            open_until: window.holding(*now).map(|open| utc(open.end)),
        })
    }
}

/// By which policy newer builds come.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyView {
    /// `off` or `window`.
    minor: &'static str,
    /// The newest build that the instance may go to, where there is one that is newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<NewestView>,
    /// When its window opens next, or opened where it is open, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_start: Option<String>,
}

/// A newer build.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewestView {
    datastore_version: String,
    version_number: String,
}

impl From<&policies::Seen> for PolicyView {
    fn from(seen: &policies::Seen) -> Self {
        Self {
            minor: seen.policy.as_str(),
            newest: seen.newest.as_ref().map(|version| NewestView {
                datastore_version: version.name.clone(),
                version_number: version.number.clone(),
            }),
            window_start: seen.window.map(utc),
        }
    }
}

/// A time of our own routes: UTC, and it says so.
pub(super) fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parses the body of `PUT …/window`.
fn parse(body: &Map<String, Value>) -> Result<Window, Refusal> {
    closed(body, &["window"])?;
    let window = Field::root(body, "window")?;
    window.closed(&["days", "start", "minutes", "zone"])?;
    let days = match window.optional("days")? {
        None => Days::ALL,
        Some(field) => {
            let words: Result<Vec<&str>, Refusal> = field.array()?.iter().map(Field::text).collect();
            Days::of_words(words?)
                .ok_or_else(|| field.refuse("must be one or more of mon, tue, wed, thu, fri, sat, sun"))?
        }
    };
    let field = window.required("start")?;
    let start = of_clock(field.text()?)
        .ok_or_else(|| field.refuse("must be an hour and a minute of the day, as 02:00"))?;
    let field = window.required("minutes")?;
    let minutes = field.integer(LEAST_MINUTES.into(), MOST_MINUTES.into())?;
    let minutes = u16::try_from(minutes).map_err(|_| field.refuse("must be an integer"))?;
    let zone: Tz = match window.optional("zone")? {
        None => Tz::UTC,
        Some(field) => field
            .text()?
            .parse()
            .map_err(|_| field.refuse("must be a time zone's name in the IANA database, as Europe/Berlin"))?,
    };
    Window::new(days, start, minutes, zone).map_err(|_| window.refuse("must be a start and minutes"))
}

fn id(call: &Call, of_instance: bool) -> Result<Option<InstanceId>, Fault> {
    of_instance.then(|| call.instance_id()).transpose()
}

fn told(seen: &Seen) -> Result<HttpResponse, Fault> {
    let view = WindowView::of(seen).ok_or_else(|| Fault::Broken("a window never opens".into()))?;
    answer(StatusCode::OK, &Keyed("window", &view))
}

async fn show(call: Call, caller: Caller, of_instance: bool) -> Result<HttpResponse, Fault> {
    let id = id(&call, of_instance)?;
    told(&windows::see(&call.state.commands.db, &caller, id).await?)
}

async fn set(call: Call, caller: Caller, of_instance: bool) -> Result<HttpResponse, Fault> {
    let window = parse(&call.json()?)?;
    let id = id(&call, of_instance)?;
    told(&windows::set(&call.state.commands.db, &caller, id, Some(window)).await?)
}

async fn drop_window(call: Call, caller: Caller, of_instance: bool) -> Result<HttpResponse, Fault> {
    let id = id(&call, of_instance)?;
    told(&windows::set(&call.state.commands.db, &caller, id, None).await?)
}

async fn show_policy(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let seen = policies::see(&call.state.commands.db, &caller, call.instance_id()?).await?;
    answer(StatusCode::OK, &Keyed("upgrade_policy", &PolicyView::from(&seen)))
}

async fn set_policy(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let policy = parse_policy(&call.json()?)?;
    let seen = policies::set(&call.state.commands.db, &caller, call.instance_id()?, policy).await?;
    answer(StatusCode::OK, &Keyed("upgrade_policy", &PolicyView::from(&seen)))
}

fn parse_policy(body: &Map<String, Value>) -> Result<Policy, Refusal> {
    closed(body, &["upgrade_policy"])?;
    let policy = Field::root(body, "upgrade_policy")?;
    policy.closed(&["minor"])?;
    let field = policy.required("minor")?;
    field.text()?.parse().map_err(|_| field.refuse("must be off or window"))
}

/// Refuses a body: where there is one it is an empty object.
///
/// # Errors
/// 400.
pub(super) fn no_body(call: &Call) -> Result<(), Fault> {
    if !matches!(call.body, Body::Empty) {
        closed(&call.json()?, &[])?;
    }
    Ok(())
}

/// The keys by which a request says when.
pub(super) const WHEN: [&str; 3] = ["not_before", "not_after", "window"];

/// When a request says that an upgrade begins, seen from `now`: `not_before` with `not_after`, or `window`.
///
/// # Errors
/// 400 naming the field.
pub(super) fn when(field: &Field<'_>, now: DateTime<Utc>) -> Result<Timing, Refusal> {
    let in_window = match field.optional("window")? {
        Some(field) => field.boolean()?,
        None => false,
    };
    let not_after = field.optional("not_after")?;
    let Some(not_before) = field.optional("not_before")? else {
        return match not_after {
            Some(field) => Err(field.refuse("can only be given with not_before")),
            None if in_window => Ok(Timing::Window),
            None => Ok(Timing::Now),
        };
    };
    if in_window {
        return Err(not_before.refuse("cannot be given with window"));
    }
    let end = not_after.as_ref().map(moment).transpose()?;
    timing::at(moment(&not_before)?, end, now).map_err(|wrong| match (wrong, &not_after) {
        (WrongTime::Passed, _) => not_before.refuse("must not have passed"),
        (WrongTime::Order, Some(field)) => field.refuse("must be later than not_before"),
        (WrongTime::TooFar, Some(field)) if not_before_is_near(&not_before, now) => {
            field.refuse("must be within 366 days of not_before")
        }
        (WrongTime::Order | WrongTime::TooFar, _) => not_before.refuse("must be within 366 days"),
    })
}

fn not_before_is_near(field: &Field<'_>, now: DateTime<Utc>) -> bool {
    moment(field).is_ok_and(|at| at - now <= timing::FURTHEST)
}

/// A moment in UTC.
fn moment(field: &Field<'_>) -> Result<DateTime<Utc>, Refusal> {
    let refuse = || field.refuse("must be a time in UTC, as 2026-12-24T02:00:00Z");
    let text = field.text()?;
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| refuse())?;
    if at.offset().local_minus_utc() == 0 { Ok(at.to_utc()) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::trove::create::tests::any_json;
    use crate::domain::window::Source;

    #[test]
    fn each_window_has_one_meaning() {
        let parsed = |window: Value| parse(json!({"window": window}).as_object().unwrap());
        let told = |window: Value| parsed(window.clone()).map_or_else(|e| e.to_string(), |it| it.to_string());
        for (window, meaning) in [
            (json!({"start": "02:00", "minutes": 240}), "mon,tue,wed,thu,fri,sat,sun 02:00 for 240 min, UTC"),
            (
                json!({"days": ["sun", "mon", "mon"], "start": "23:30", "minutes": 1440, "zone": "Europe/Berlin"}),
                "mon,sun 23:30 for 1440 min, Europe/Berlin",
            ),
            (
                json!({"days": null, "start": "00:00", "minutes": 10, "zone": null}),
                "mon,tue,wed,thu,fri,sat,sun 00:00 for 10 min, UTC",
            ),
        ] {
            assert_eq!(told(window.clone()), meaning, "{window}");
        }
        for (window, field) in [
            (json!({}), "window['start']"),
            (json!([]), "window must be an object"),
            (json!({"start": "2:00", "minutes": 60}), "window['start']"),
            (json!({"start": 2, "minutes": 60}), "window['start']"),
            (json!({"start": "24:00", "minutes": 60}), "window['start']"),
            (json!({"start": "02:00"}), "window['minutes']"),
            (json!({"start": "02:00", "minutes": 9}), "window['minutes'] must be an integer from 10 to 1440"),
            (json!({"start": "02:00", "minutes": 1441}), "window['minutes']"),
            (json!({"start": "02:00", "minutes": "60"}), "window['minutes']"),
            (json!({"start": "02:00", "minutes": 60.5}), "window['minutes']"),
            (json!({"start": "02:00", "minutes": 60, "days": []}), "window['days']"),
            (json!({"start": "02:00", "minutes": 60, "days": "mon"}), "window['days']"),
            (json!({"start": "02:00", "minutes": 60, "days": ["Monday"]}), "window['days']"),
            (json!({"start": "02:00", "minutes": 60, "days": [1]}), "window['days'][0]"),
            (json!({"start": "02:00", "minutes": 60, "zone": "Mars/Base"}), "window['zone']"),
            (json!({"start": "02:00", "minutes": 60, "zone": "+01:00"}), "window['zone']"),
            (json!({"start": "02:00", "minutes": 60, "zone": 1}), "window['zone']"),
            (json!({"start": "02:00", "minutes": 60, "end": "03:00"}), "no other properties"),
        ] {
            let text = parsed(window.clone()).unwrap_err().to_string();
            assert!(text.contains(field), "{window}: {text}");
        }
    }

    #[test]
    fn each_when_has_one_meaning() {
        let now: DateTime<Utc> = "2026-11-25T12:00:00Z".parse().unwrap();
        let asked = |value: Value| {
            let body = json!({"upgrade": value});
            let field = Field::root(body.as_object().unwrap(), "upgrade").unwrap();
            when(&field, now).map_err(|e| e.to_string())
        };
        let at = |from: &str, to: &str| {
            Ok(Timing::At { not_before: from.parse().unwrap(), not_after: to.parse().unwrap() })
        };
        for (value, meaning) in [
            (json!({}), Ok(Timing::Now)),
            (json!({"window": false}), Ok(Timing::Now)),
            (json!({"window": true}), Ok(Timing::Window)),
            (
                json!({"not_before": "2026-11-25T12:00:00Z"}),
                at("2026-11-25T12:00:00Z", "2026-11-25T13:00:00Z"),
            ),
            (
                json!({"not_before": "2026-11-26T12:00:00+00:00", "not_after": "2026-11-26T12:00:01Z", "window": false}),
                at("2026-11-26T12:00:00Z", "2026-11-26T12:00:01Z"),
            ),
        ] {
            assert_eq!(asked(value.clone()), meaning, "{value}");
        }
        for (value, words) in [
            (json!({"window": "yes"}), "upgrade['window'] must be a boolean"),
            (json!({"window": {}}), "upgrade['window'] must be a boolean"),
            (json!({"not_before": 1}), "upgrade['not_before'] must be a string"),
            (json!({"not_before": "tomorrow"}), "upgrade['not_before'] must be a time in UTC"),
            (json!({"not_before": "2026-11-26T12:00:00"}), "upgrade['not_before'] must be a time in UTC"),
            (
                json!({"not_before": "2026-11-26T12:00:00+01:00"}),
                "upgrade['not_before'] must be a time in UTC",
            ),
            (json!({"not_before": "2026-11-25T11:59:59Z"}), "upgrade['not_before'] must not have passed"),
            (json!({"not_before": "2027-11-27T12:00:00Z"}), "upgrade['not_before'] must be within 366 days"),
            (json!({"not_before": "9999-12-31T23:59:59Z"}), "upgrade['not_before'] must be within 366 days"),
            (
                json!({"not_before": "2026-11-26T12:00:00Z", "window": true}),
                "upgrade['not_before'] cannot be given with",
            ),
            (
                json!({"not_after": "2026-11-26T12:00:00Z"}),
                "upgrade['not_after'] can only be given with not_before",
            ),
            (
                json!({"not_before": "2026-11-26T12:00:00Z", "not_after": "2026-11-26T12:00:00Z"}),
                "upgrade['not_after'] must be later",
            ),
            (
                json!({"not_before": "2026-11-26T12:00:00Z", "not_after": "9999-11-26T12:00:00Z"}),
                "upgrade['not_after'] must be within",
            ),
        ] {
            let text = asked(value.clone()).unwrap_err();
            assert!(text.contains(words), "{value}: {text}");
        }
    }

    #[test]
    fn a_view_tells_when_it_opens() {
        let seen =
            |now: &str| Seen { window: Window::usual(), source: Source::Usual, now: now.parse().unwrap() };
        let view = serde_json::to_value(WindowView::of(&seen("2026-11-25T12:00:00Z")).unwrap()).unwrap();
        assert_eq!(
            view,
            json!({"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "02:00", "minutes": 240,
                "zone": "UTC", "source": "default", "next_start": "2026-11-26T02:00:00Z",
                "next_end": "2026-11-26T06:00:00Z"})
        );
        let open = serde_json::to_value(WindowView::of(&seen("2026-11-25T02:00:01Z")).unwrap()).unwrap();
        assert_eq!(open["open_until"], "2026-11-25T06:00:00Z");
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            let _ = parse(json!({"window": value.clone()}).as_object().unwrap());
            let _ = parse_policy(json!({"upgrade_policy": value.clone()}).as_object().unwrap());
            let _ = parse_policy(json!({"upgrade_policy": {"minor": value.clone()}}).as_object().unwrap());
            for key in ["days", "start", "minutes", "zone"] {
                let mut window = json!({"start": "02:00", "minutes": 60});
                window[key] = value.clone();
                let _ = parse(json!({"window": window}).as_object().unwrap());
            }
            for key in WHEN {
                let body = json!({"upgrade": {key: value.clone()}});
                let _ = when(&Field::root(body.as_object().unwrap(), "upgrade").unwrap(), Utc::now());
            }
        }
    }
}
