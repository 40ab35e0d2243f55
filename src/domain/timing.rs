//! When an upgrade begins: at once, in the instance's window, or at a set time; and what becomes of one that is due.
//!
//! # Decision
//! What is set is when an upgrade *begins*. One that has begun goes on to its end, also past the end of a window: its
//! hold is short, and to break it off at the window's end would only have it begin again in the next one.
//!
//! An upgrade that waits claims nothing: its instance stays free, can be changed, and be deleted. So what was true when
//! it was asked for is looked at again before it begins, and where that has changed it ends with the reason. At most one
//! is planned for an instance, and while it is, no other upgrade is accepted: that one can be moved, started or cancelled.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::datastore::UnknownWord;
use crate::domain::window::{Interval, Window};

/// How late an upgrade for a set time may begin, unless the request says otherwise.
pub const LATE: TimeDelta = TimeDelta::hours(1);

/// How far ahead a time can be set.
pub const FURTHEST: TimeDelta = TimeDelta::days(366);

/// When an upgrade begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// At once.
    #[default]
    Now,
    /// In the instance's window: the one that is open, else the next.
    Window,
    /// At a set time.
    At {
        /// Not before this moment.
        not_before: DateTime<Utc>,
        /// Nor after this one.
        not_after: DateTime<Utc>,
    },
}

impl Timing {
    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Window => "window",
            Self::At { .. } => "at",
        }
    }

    /// The timing that a row has: its word, and its two moments where it is for a set time.
    ///
    /// # Errors
    /// [`UnknownWord`] also for a set time without its moments.
    pub fn of_row(word: &str, at: Option<(DateTime<Utc>, DateTime<Utc>)>) -> Result<Self, UnknownWord> {
        match (word, at) {
            ("now", None) => Ok(Self::Now),
            ("window", None) => Ok(Self::Window),
            ("at", Some((not_before, not_after))) => Ok(Self::At { not_before, not_after }),
            (_, _) => Err(UnknownWord { what: "timing", word: word.to_owned() }),
        }
    }

    /// When it begins, seen from `now`; `None` for at once.
    pub fn starts(self, window: &Window, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Now => None,
            // Where the calendar ends, so does everything.
            Self::Window => Some(window.now_or_next(now).map_or(now, |interval| interval.start.max(now))),
            Self::At { not_before, .. } => Some(not_before),
        }
    }
}

/// What is wrong with a set time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongTime {
    /// It has passed.
    Passed,
    /// It is further ahead than can be set.
    TooFar,
    /// Its end is not after it.
    Order,
}

/// A set time, seen from `now`.
///
/// # Errors
/// What is wrong with it.
pub fn at(
    not_before: DateTime<Utc>,
    not_after: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Timing, WrongTime> {
    let not_after = match not_after {
        Some(not_after) => not_after,
        None => not_before.checked_add_signed(LATE).ok_or(WrongTime::TooFar)?,
    };
    if not_before < now {
        Err(WrongTime::Passed)
    } else if not_before - now > FURTHEST {
        Err(WrongTime::TooFar)
    } else if not_after <= not_before {
        Err(WrongTime::Order)
    } else if not_after - not_before > FURTHEST {
        Err(WrongTime::TooFar)
    } else {
        Ok(Timing::At { not_before, not_after })
    }
}

/// What becomes of an upgrade that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It begins.
    Begins,
    /// It waits until then: it was moved, or its window was.
    Waits(DateTime<Utc>),
    /// The window for which it was planned has passed: it waits for this one.
    Missed(Interval),
    /// It is later than it may begin.
    TooLate,
}

/// What becomes, at `now`, of an upgrade that was planned to begin at `planned`.
pub fn due(timing: Timing, window: &Window, planned: DateTime<Utc>, now: DateTime<Utc>) -> Due {
    match timing {
        Timing::Now => Due::Begins,
        Timing::Window => match (window.holding(now), window.next(now)) {
            (Some(_), _) => Due::Begins,
            (None, Some(next)) if planned < now && window.holding(planned).is_some() => Due::Missed(next),
            (None, Some(next)) => Due::Waits(next.start),
            (None, None) => Due::TooLate,
        },
        Timing::At { not_before, not_after } => {
            if now < not_before {
                Due::Waits(not_before)
            } else if now <= not_after {
                Due::Begins
            } else {
                Due::TooLate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn one_that_is_due_begins_waits_was_missed_or_is_too_late() {
        let window = Window::usual();
        let at = Timing::At {
            not_before: moment("2026-11-25T12:00:00Z"),
            not_after: moment("2026-11-25T13:00:00Z"),
        };
        let next = |day: u32| {
            let start = moment(&format!("2026-11-{day}T02:00:00Z"));
            Interval { start, end: start + TimeDelta::hours(4) }
        };
        let planned = "2026-11-25T02:00:00Z";
        for (timing, planned, now, becomes) in [
            (Timing::Now, planned, "2026-11-25T01:00:00Z", Due::Begins),
            (Timing::Window, planned, "2026-11-25T02:00:00Z", Due::Begins),
            (Timing::Window, planned, "2026-11-25T05:59:59Z", Due::Begins),
            (Timing::Window, planned, "2026-11-25T06:00:00Z", Due::Missed(next(26))),
            (Timing::Window, planned, "2026-11-27T12:00:00Z", Due::Missed(next(28))),
            // It was missed once, and now it is not.
            (Timing::Window, planned, "2026-11-28T03:00:00Z", Due::Begins),
            // The window was moved meanwhile: what was planned is in none.
            (Timing::Window, "2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z", Due::Waits(next(26).start)),
            (Timing::Window, "2026-11-25T01:00:00Z", "2026-11-25T01:00:00Z", Due::Waits(next(25).start)),
            (at, "2026-11-25T12:00:00Z", "2026-11-25T11:59:59Z", Due::Waits(moment("2026-11-25T12:00:00Z"))),
            (at, "2026-11-25T12:00:00Z", "2026-11-25T12:00:00Z", Due::Begins),
            (at, "2026-11-25T12:00:00Z", "2026-11-25T13:00:00Z", Due::Begins),
            (at, "2026-11-25T12:00:00Z", "2026-11-25T13:00:01Z", Due::TooLate),
        ] {
            let (planned, now) = (moment(planned), moment(now));
            assert_eq!(due(timing, &window, planned, now), becomes, "{timing:?} {planned} {now}");
        }
    }

    #[test]
    fn a_set_time_lies_ahead_and_not_too_far() {
        let now = moment("2026-11-25T12:00:00Z");
        let far = now + FURTHEST;
        let made = |not_before, not_after| at(not_before, not_after, now);
        let soon = now + TimeDelta::minutes(5);
        assert_eq!(made(soon, None), Ok(Timing::At { not_before: soon, not_after: soon + LATE }));
        assert!(made(now, None).is_ok() && made(far, Some(far + TimeDelta::seconds(1))).is_ok());
        for (not_before, not_after, wrong) in [
            (now - TimeDelta::seconds(1), None, WrongTime::Passed),
            (far + TimeDelta::seconds(1), None, WrongTime::TooFar),
            (DateTime::<Utc>::MAX_UTC, None, WrongTime::TooFar),
            (soon, Some(soon), WrongTime::Order),
            (soon, Some(now), WrongTime::Order),
            (soon, Some(DateTime::<Utc>::MAX_UTC), WrongTime::TooFar),
        ] {
            assert_eq!(made(not_before, not_after), Err(wrong), "{not_before} {not_after:?}");
        }
    }

    #[test]
    fn what_is_planned_is_told() {
        let window = Window::usual();
        let told = |timing: Timing, now: &str| timing.starts(&window, moment(now));
        assert_eq!(told(Timing::Now, "2026-11-25T12:00:00Z"), None);
        let tomorrow = Some(moment("2026-11-26T02:00:00Z"));
        assert_eq!(told(Timing::Window, "2026-11-25T12:00:00Z"), tomorrow);
        // It is open: at once.
        assert_eq!(told(Timing::Window, "2026-11-26T03:00:00Z"), Some(moment("2026-11-26T03:00:00Z")));
    }

    #[test]
    fn a_row_reads_back() {
        let both = Some((moment("2026-11-25T12:00:00Z"), moment("2026-11-25T13:00:00Z")));
        for at in [None, both] {
            for word in ["now", "window", "at", "later"] {
                let read = Timing::of_row(word, at);
                assert_eq!(read.is_ok(), word != "later" && at.is_some() == (word == "at"), "{word} {at:?}");
                assert!(read.is_err() || read.unwrap().as_str() == word);
            }
        }
    }
}
