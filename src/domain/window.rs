//! Maintenance windows: on which days, from when, for how long, by the clocks of which zone.
//!
//! Each day of a window has one interval in it. It begins when the zone's clocks show the window's start, and lasts its
//! minutes as time goes by, whatever the clocks do meanwhile; so it may end after midnight, and an interval that holds a
//! doubled hour shows more of the clock's minutes than it has.
//!
//! # Decision
//! Where the clocks pass over the start (a skipped hour), the interval begins at the first moment after the gap: it is
//! not left out. Where they show it twice (a doubled hour) it begins at the first of the two, and once. A date that the
//! zone leaves out whole has none. An interval ends at the latest where the next one begins, so that no moment is in
//! two of them.

use std::fmt;

use chrono::{
    DateTime, Datelike as _, Days as Count, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta,
    Timelike,
};
use chrono::{TimeZone as _, Utc, Weekday};
use chrono_tz::Tz;

/// The least minutes that a window lasts.
pub const LEAST_MINUTES: u16 = 10;

/// The most minutes that a window lasts: a day.
pub const MOST_MINUTES: u16 = 24 * 60;

/// How many days are looked at for the next interval: a week, and another one for a date that a zone leaves out.
const LOOK: u64 = 16;

/// The most minutes that clocks are put forward by, where no date is left out: two hours in the Antarctic, and some.
const LONGEST_GAP: u16 = 240;

/// Days of the week, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

const WEEK: [(Weekday, &str); 7] = [
    (Weekday::Mon, "mon"),
    (Weekday::Tue, "tue"),
    (Weekday::Wed, "wed"),
    (Weekday::Thu, "thu"),
    (Weekday::Fri, "fri"),
    (Weekday::Sat, "sat"),
    (Weekday::Sun, "sun"),
];

impl Days {
    /// All of them.
    pub const ALL: Self = Self(0b0111_1111);

    /// The days of these words, `mon` to `sun`; `None` for another word and for no day at all.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut bits = 0;
        for word in words {
            let at = WEEK.iter().position(|(_, name)| *name == word)?;
            bits |= 1 << at;
        }
        Self::of_bits(bits)
    }

    /// The days of these bits, Monday's is the lowest; `None` where no day is set, or what is no day.
    pub const fn of_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits > Self::ALL.0 { None } else { Some(Self(bits)) }
    }

    /// Its bits, Monday's is the lowest.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the day is one of them.
    pub fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.num_days_from_monday()) != 0
    }

    /// Their words, from Monday on.
    pub fn words(self) -> Vec<&'static str> {
        WEEK.into_iter().filter(|(day, _)| self.has(*day)).map(|(_, word)| word).collect()
    }
}

/// What is wrong with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its start is no minute of a day.
    Start,
    /// It is too short or too long.
    Minutes,
}

/// A window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    days: Days,
    start: NaiveTime,
    minutes: u16,
    zone: Tz,
}

/// Where an instance's window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The instance has its own.
    Instance,
    /// Its project has a default.
    Project,
    /// Neither has: [`Window::usual`].
    Usual,
}

impl Source {
    /// The word in views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Project => "project",
            Self::Usual => "default",
        }
    }
}

/// A stretch of time; its end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// Its first moment.
    pub start: DateTime<Utc>,
    /// The first moment after it.
    pub end: DateTime<Utc>,
}

impl Interval {
    /// Whether the moment is in it.
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }
}

impl Window {
    /// What holds where nobody set one: every day from 02:00 to 06:00 UTC.
    pub fn usual() -> Self {
        let start = NaiveTime::from_hms_opt(2, 0, 0).unwrap_or(NaiveTime::MIN);
        Self { days: Days::ALL, start, minutes: 240, zone: Tz::UTC }
    }

    /// A window; `start` is a minute of the day, 0 to 1439.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(days: Days, start: u16, minutes: u16, zone: Tz) -> Result<Self, Wrong> {
        let start =
            NaiveTime::from_num_seconds_from_midnight_opt(u32::from(start) * 60, 0).ok_or(Wrong::Start)?;
        if !(LEAST_MINUTES..=MOST_MINUTES).contains(&minutes) {
            return Err(Wrong::Minutes);
        }
        Ok(Self { days, start, minutes, zone })
    }

    /// A window of every day from one minute of the day to another, which may be of the next day; the same minute twice
    /// is a whole day.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn daily(from: u16, to: u16, zone: Tz) -> Result<Self, Wrong> {
        if to >= MOST_MINUTES {
            return Err(Wrong::Minutes);
        }
        let minutes = (to + MOST_MINUTES).checked_sub(from).ok_or(Wrong::Start)?;
        Self::new(
            Days::ALL,
            from,
            if minutes > MOST_MINUTES { minutes - MOST_MINUTES } else { minutes },
            zone,
        )
    }

    /// Its days.
    pub const fn days(&self) -> Days {
        self.days
    }

    /// The minute of the day at which it begins.
    pub fn start(&self) -> u16 {
        u16::try_from(self.start.num_seconds_from_midnight() / 60).unwrap_or_default()
    }

    /// How many minutes it lasts.
    pub const fn minutes(&self) -> u16 {
        self.minutes
    }

    /// The minute of the day that clocks show at its end, where nothing is skipped or doubled in it.
    pub fn end(&self) -> u16 {
        (self.start() + self.minutes) % MOST_MINUTES
    }

    /// The zone by whose clocks it begins.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// When it begins on a date of its zone; `None` on another day of the week, and on a date that the zone leaves out.
    fn start_on(&self, date: NaiveDate) -> Option<DateTime<Utc>> {
        if !self.days.has(date.weekday()) {
            return None;
        }
        let shows = |clock: NaiveDateTime| match self.zone.from_local_datetime(&clock) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.to_utc()),
            LocalResult::None => None,
        };
        let mut clock = date.and_time(self.start);
        // A date of which clocks show no hour is none of the zone's.
        if shows(clock).is_none()
            && (0..24).all(|hour| date.and_hms_opt(hour, 0, 0).and_then(shows).is_none())
        {
            return None;
        }
        // The end of a gap is a minute that clocks show, if only on the next day.
        for _ in 0..=LONGEST_GAP {
            if let Some(at) = shows(clock) {
                return Some(at);
            }
            clock = clock.checked_add_signed(TimeDelta::minutes(1))?;
        }
        None
    }

    /// The starts from the day before `at` on, in order.
    fn starts_around(&self, at: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let today = at.with_timezone(&self.zone).date_naive();
        // An interval of yesterday's may last until today.
        let first = today.checked_sub_days(Count::new(2)).unwrap_or(today);
        let days = (0..LOOK).filter_map(move |more| first.checked_add_days(Count::new(more)));
        days.filter_map(|date| self.start_on(date))
    }

    fn interval(&self, start: DateTime<Utc>) -> Interval {
        let length = start + TimeDelta::minutes(self.minutes.into());
        let next = self.starts_around(start).find(|other| *other > start);
        Interval { start, end: next.map_or(length, |next| length.min(next)) }
    }

    /// The first interval that begins at the moment or after it; `None` only where the calendar ends.
    pub fn next(&self, at: DateTime<Utc>) -> Option<Interval> {
        self.starts_around(at).find(|start| *start >= at).map(|start| self.interval(start))
    }

    /// The interval that holds the moment.
    pub fn holding(&self, at: DateTime<Utc>) -> Option<Interval> {
        let last = self.starts_around(at).take_while(|start| *start <= at).last()?;
        Some(self.interval(last)).filter(|interval| interval.holds(at))
    }

    /// The interval that holds the moment, else the first one after it.
    pub fn now_or_next(&self, at: DateTime<Utc>) -> Option<Interval> {
        self.holding(at).or_else(|| self.next(at))
    }
}

/// A minute of a day, as clocks show it: `02:00`.
pub fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// The minute of a day that clocks show as this: two digits, a colon, two digits.
pub fn of_clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str, most: u16| {
        let fits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| fits && *number < most)
    };
    Some(two(hour, 24)? * 60 + two(minute, 60)?)
}

impl fmt::Display for Window {
    /// `mon,sun 22:00 for 240 min, Europe/Berlin`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, start) = (self.days.words().join(","), clock(self.start()));
        write!(f, "{days} {start} for {} min, {}", self.minutes, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Zones with every kind of change there is: whole and half hours, two hours, at midnight, on the other side of the
    /// equator, none at all, and ones that changed their minds.
    const ZONES: [Tz; 40] = [
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::Europe__London,
        Tz::Europe__Dublin,
        Tz::Europe__Lisbon,
        Tz::Europe__Moscow,
        Tz::Europe__Istanbul,
        Tz::Europe__Chisinau,
        Tz::America__New_York,
        Tz::America__Los_Angeles,
        Tz::America__St_Johns,
        Tz::America__Halifax,
        Tz::America__Sao_Paulo,
        Tz::America__Santiago,
        Tz::America__Asuncion,
        Tz::America__Havana,
        Tz::America__Mexico_City,
        Tz::America__Phoenix,
        Tz::America__Nuuk,
        Tz::America__Scoresbysund,
        Tz::Antarctica__Troll,
        Tz::Antarctica__Casey,
        Tz::Africa__Cairo,
        Tz::Africa__Casablanca,
        Tz::Africa__El_Aaiun,
        Tz::Africa__Juba,
        Tz::Asia__Tehran,
        Tz::Asia__Beirut,
        Tz::Asia__Gaza,
        Tz::Asia__Jerusalem,
        Tz::Asia__Amman,
        Tz::Asia__Kolkata,
        Tz::Asia__Kathmandu,
        Tz::Asia__Tokyo,
        Tz::Asia__Almaty,
        Tz::Australia__Sydney,
        Tz::Australia__Lord_Howe,
        Tz::Pacific__Chatham,
        Tz::Pacific__Apia,
        Tz::Pacific__Norfolk,
    ];

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn window(days: &[&str], start: &str, minutes: u16, zone: Tz) -> Window {
        let days = if days.is_empty() { Days::ALL } else { Days::of_words(days.iter().copied()).unwrap() };
        Window::new(days, of_clock(start).unwrap(), minutes, zone).unwrap()
    }

    fn told(interval: Option<Interval>) -> String {
        let short = |at: DateTime<Utc>| at.format("%m-%dT%H:%M").to_string();
        interval.map_or("none".to_owned(), |it| format!("{} {}", short(it.start), short(it.end)))
    }

    #[test]
    fn skipped_and_doubled_hours_and_midnights() {
        use Tz::{
            Africa__Cairo as Cairo, America__New_York as NewYork, Antarctica__Troll as Troll,
            Australia__Lord_Howe as LordHowe, Europe__Berlin as Berlin, Pacific__Apia as Apia, UTC,
        };
        for (days, start, minutes, zone, after, interval) in [
            (&[][..], "02:00", 240, UTC, "2026-11-25T01:59:59Z", "11-25T02:00 11-25T06:00"),
            (&[], "02:00", 240, UTC, "2026-11-25T02:00:00Z", "11-25T02:00 11-25T06:00"),
            (&[], "02:00", 240, UTC, "2026-11-25T02:00:01Z", "11-26T02:00 11-26T06:00"),
            (&["wed"], "22:00", 240, UTC, "2026-11-25T22:00:01Z", "12-02T22:00 12-03T02:00"),
            // 02:30 is skipped: it begins at 03:00, which is 01:00 UTC, and lasts as long as ever.
            (&[], "02:30", 60, Berlin, "2026-03-28T12:00:00Z", "03-29T01:00 03-29T02:00"),
            (&[], "02:30", 60, Berlin, "2026-03-29T01:00:01Z", "03-30T00:30 03-30T01:30"),
            // 02:30 comes twice: it begins at the first one.
            (&[], "02:30", 60, Berlin, "2026-10-24T12:00:00Z", "10-25T00:30 10-25T01:30"),
            (&[], "02:30", 60, Berlin, "2026-10-25T00:30:01Z", "10-26T01:30 10-26T02:30"),
            // Over a midnight with a skipped hour in it: as long as ever.
            (&["sat"], "23:00", 240, NewYork, "2026-03-01T12:00:00Z", "03-08T04:00 03-08T08:00"),
            // Midnight itself is skipped.
            (&["fri"], "00:00", 60, Cairo, "2026-04-20T00:00:00Z", "04-23T22:00 04-23T23:00"),
            (&[], "01:15", 60, Troll, "2026-03-28T12:00:00Z", "03-29T01:00 03-29T02:00"),
            (&[], "02:15", 60, LordHowe, "2026-10-03T00:00:00Z", "10-03T15:30 10-03T16:30"),
            // A whole day, on the day before the clocks go on: it ends where the next one begins.
            (&[], "12:00", 1440, Berlin, "2026-03-28T10:00:00Z", "03-28T11:00 03-29T10:00"),
            (&[], "12:00", 1440, Berlin, "2026-10-24T09:00:00Z", "10-24T10:00 10-25T10:00"),
            // The one Friday that Samoa left out.
            (&["fri"], "10:00", 60, Apia, "2011-12-27T00:00:00Z", "01-05T20:00 01-05T21:00"),
        ] {
            let it = window(days, start, minutes, zone);
            assert_eq!(told(it.next(at(after))), interval, "{it} after {after}");
        }
    }

    #[test]
    fn the_interval_that_is_open_is_found() {
        let it = window(&["sun"], "23:00", 180, Tz::Europe__Berlin);
        for (now, open) in [
            ("2026-11-22T21:59:59Z", "none"),
            ("2026-11-22T22:00:00Z", "11-22T22:00 11-23T01:00"),
            ("2026-11-23T00:59:59Z", "11-22T22:00 11-23T01:00"),
            ("2026-11-23T01:00:00Z", "none"),
        ] {
            assert_eq!(told(it.holding(at(now))), open, "{now}");
        }
        assert_eq!(told(it.now_or_next(at("2026-11-23T00:30:00Z"))), "11-22T22:00 11-23T01:00");
        assert_eq!(told(it.now_or_next(at("2026-11-23T01:30:00Z"))), "11-29T22:00 11-30T01:00");
    }

    #[test]
    fn words_and_clocks_are_read_back() {
        for bits in 1..=127 {
            let days = Days::of_bits(bits).unwrap();
            assert_eq!(Days::of_words(days.words()), Some(days));
        }
        for wrong in [&[][..], &["monday"], &["Mon"], &["mon", ""]] {
            assert_eq!(Days::of_words(wrong.iter().copied()), None, "{wrong:?}");
        }
        assert_eq!((Days::of_bits(0), Days::of_bits(128)), (None, None));
        for minute in 0..1440 {
            assert_eq!(of_clock(&clock(minute)), Some(minute));
        }
        for wrong in
            ["", "2:00", "02:60", "24:00", "02:0", "02-00", "02:00Z", "+2:00", "٠٢:٠٠", " 2:00", "02:000"]
        {
            assert_eq!(of_clock(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_window_says_what_is_wrong_with_it() {
        let made = |start, minutes| Window::new(Days::ALL, start, minutes, Tz::UTC).err();
        assert_eq!((made(1439, 10), made(0, 1440)), (None, None));
        assert_eq!((made(1440, 60), made(u16::MAX, 60)), (Some(Wrong::Start), Some(Wrong::Start)));
        assert_eq!((made(0, 9), made(0, 1441)), (Some(Wrong::Minutes), Some(Wrong::Minutes)));
        for (from, to, minutes, end) in
            [(1320, 120, 240, 120), (0, 60, 60, 60), (60, 60, 1440, 60), (0, 0, 1440, 0)]
        {
            let daily = Window::daily(from, to, Tz::UTC).unwrap();
            assert_eq!((daily.minutes(), daily.end(), daily.start()), (minutes, end, from));
        }
        assert_eq!(Window::daily(0, 1440, Tz::UTC), Err(Wrong::Minutes));
        assert_eq!(Window::daily(1440, 0, Tz::UTC), Err(Wrong::Start));
        assert_eq!(Window::daily(u16::MAX, 0, Tz::UTC), Err(Wrong::Start));
    }

    #[test]
    fn the_calendars_ends_are_no_panic() {
        let it = window(&[], "02:00", 60, Tz::Pacific__Apia);
        for at in
            [DateTime::<Utc>::MAX_UTC - TimeDelta::days(3), DateTime::<Utc>::MIN_UTC + TimeDelta::days(3)]
        {
            let _ = (it.next(at), it.holding(at));
        }
    }

    /// Walks from one interval to the next for `days` days, and holds each against the zone's clocks.
    fn walk(it: &Window, from: DateTime<Utc>, days: i64) {
        let mut at = from;
        let mut last: Option<Interval> = None;
        let mut dates = Vec::new();
        let until = from + TimeDelta::days(days);
        while at < until {
            let interval = it.next(at).unwrap();
            let shown = |at: DateTime<Utc>| at.with_timezone(&it.zone()).naive_local();
            let begins = shown(interval.start);
            let before = shown(interval.start - TimeDelta::minutes(1));
            let is_passed = |wanted: &NaiveDateTime| before < *wanted && *wanted <= begins;
            let wanted = [before.date(), begins.date()]
                .map(|date| date.and_time(it.start))
                .into_iter()
                .find(is_passed);
            let wanted = wanted
                .unwrap_or_else(|| panic!("{it}: {interval:?} is neither at its start nor after a gap"));
            assert!(it.days().has(wanted.weekday()), "{it}: {interval:?}");
            for earlier in [30, 60, 120] {
                let earlier = shown(interval.start - TimeDelta::minutes(earlier));
                assert_ne!(earlier, wanted, "{it}: {interval:?} is the second time");
            }
            let minutes = (interval.end - interval.start).num_minutes();
            assert!(minutes > 0 && minutes <= i64::from(it.minutes()), "{it}: {interval:?}");
            assert!(minutes == i64::from(it.minutes()) || it.minutes() > 21 * 60, "{it}: {interval:?}");
            if let Some(last) = last {
                assert!(last.end <= interval.start, "{it}: {last:?} {interval:?}");
                let between = last.end + (interval.start - last.end) / 2;
                let is_open = between < interval.start && it.holding(between).is_some();
                assert!(!is_open, "{it}: {between} is between {last:?} and {interval:?}");
            }
            let inside = interval.end - TimeDelta::seconds(1);
            assert_eq!(
                (it.holding(interval.start), it.holding(inside)),
                (Some(interval), Some(interval)),
                "{it}"
            );
            dates.push(wanted.date());
            last = Some(interval);
            at = interval.start + TimeDelta::seconds(1);
        }
        let (first, end) = (dates[0], dates[dates.len() - 1]);
        let every: Vec<_> = first
            .iter_days()
            .take_while(|date| *date <= end)
            .filter(|date| it.days().has(date.weekday()))
            .collect();
        let odd = dates.iter().zip(&every).find(|(had, wanted)| had != wanted);
        assert!(odd.is_none() && dates.len() == every.len(), "{it}: a day is left out, or twice: {odd:?}");
    }

    /// Ten years in forty zones, at the hours at which their clocks are changed.
    #[test]
    fn ten_years_in_forty_zones_have_each_day_once() {
        let begin = at("2021-06-01T00:00:00Z");
        for (number, zone) in ZONES.into_iter().enumerate() {
            let start = ["02:30", "00:00", "01:15", "23:45"][number % 4];
            walk(&window(&[], start, [60, 240, 1440][number % 3], zone), begin, 3_653);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_window_of_any_zone_has_each_of_its_days_once(
            zone in 0..ZONES.len(), bits in 1_u8..128, start in 0_u16..1440, minutes in LEAST_MINUTES..=MOST_MINUTES,
            year in 2016_i32..2036,
        ) {
            let it = Window::new(Days::of_bits(bits).unwrap(), start, minutes, ZONES[zone]).unwrap();
            walk(&it, at(&format!("{year}-02-20T07:31:00Z")), 400);
        }

        /// A clock that is looked at now and then, at any time: who runs once in each interval that is met runs never
        /// outside of one, never twice in one, and in each that was looked at.
        #[test]
        fn who_looks_now_and_then_runs_once_in_each(
            zone in 0..ZONES.len(), bits in 1_u8..128, start in 0_u16..1440, minutes in LEAST_MINUTES..=MOST_MINUTES,
            gaps in proptest::collection::vec(1_i64..4_000, 300),
        ) {
            let it = Window::new(Days::of_bits(bits).unwrap(), start, minutes, ZONES[zone]).unwrap();
            let mut now = at("2026-03-01T00:00:00Z");
            let mut planned = it.now_or_next(now).unwrap();
            let mut ran: Vec<Interval> = Vec::new();
            for gap in gaps {
                now += TimeDelta::minutes(gap);
                if now < planned.start {
                    // None is open, or the one in which it ran.
                    prop_assert!(it.holding(now).is_none_or(|open| ran.last() == Some(&open)));
                    continue;
                }
                match it.holding(now) {
                    Some(open) => {
                        prop_assert!(open.holds(now) && ran.last().is_none_or(|last| last.end <= open.start));
                        ran.push(open);
                        planned = it.next(open.end).unwrap();
                    }
                    // It was missed: the next one.
                    None => planned = it.next(now).unwrap(),
                }
                prop_assert!(planned.start > now);
            }
        }
    }
}
