//! How far a follower is behind, over a while: whether it comes nearer, and when it would be there.
//!
//! # Decision
//! What is measured is what it has not taken yet, in the engine's own measure (bytes of its log, transactions), and not a
//! time: a follower that works off what was written during its copy reaches no position for long, and is still on its
//! way. The mean of the last third of a window is compared with that of the first: a load comes in waves.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engines::Behind;

/// What was seen of a follower.
#[derive(Debug)]
pub struct Lag {
    window: Duration,
    seen: VecDeque<(Duration, Behind)>,
}

impl Lag {
    /// A meter that judges over windows of that length.
    pub const fn over(window: Duration) -> Self {
        Self { window, seen: VecDeque::new() }
    }

    /// Begins again: it was close behind meanwhile.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    /// Notes what was seen at that time, and gives a line for people.
    pub fn note(&mut self, at: Duration, behind: Behind) -> String {
        self.seen.push_back((at, behind));
        // One that is older than the window stays, so that the window is full.
        while self.seen.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= self.window) {
            self.seen.pop_front();
        }
        match self.rate() {
            Some(rate) if rate < 0 => {
                let left = i64::try_from(behind.amount).unwrap_or(i64::MAX).saturating_mul(1_000) / -rate;
                format!("behind by {behind}, about {left} s to go")
            }
            Some(_) => format!("behind by {behind}, and not coming nearer"),
            None => format!("behind by {behind}"),
        }
    }

    /// How much it falls behind in 1,000 s, over the last window; less than nothing where it comes nearer. `None` before a
    /// third of a window was seen.
    fn rate(&self) -> Option<i64> {
        let ((first, _), (last, _)) = (self.seen.front()?, self.seen.back()?);
        let span = last.saturating_sub(*first);
        if span < self.window / 3 {
            return None;
        }
        let mean = |from: Duration, to: Duration| {
            let within = self.seen.iter().filter(|(at, _)| (from..=to).contains(at));
            let (sum, seen) = within.fold((0_u64, 0_u64), |(sum, seen), (_, behind)| {
                (sum.saturating_add(behind.amount), seen + 1)
            });
            i64::try_from(sum / seen.max(1)).unwrap_or(i64::MAX)
        };
        let third = span / 3;
        let change = mean(last.saturating_sub(third), *last).saturating_sub(mean(*first, *first + third));
        let over = i64::try_from(span.saturating_sub(third).as_millis()).ok().filter(|over| *over > 0)?;
        Some(change.saturating_mul(1_000_000) / over)
    }

    /// Why it will not be there: it did not come nearer over a whole window.
    pub fn stands(&self) -> Option<String> {
        let ((first, _), (last, behind)) = (self.seen.front()?, self.seen.back()?);
        let span = last.saturating_sub(*first);
        let rate = self.rate().filter(|_| span >= self.window)?;
        // Nearer by less than a hundredth in a window is not nearer.
        let hundredth = i64::try_from(behind.amount / 100).unwrap_or(i64::MAX).saturating_mul(1_000);
        let least = hundredth / i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX).max(1);
        (behind.amount > 0 && rate >= -least).then(|| {
            format!(
                "the copy was {behind} behind after {:.0} s, and over the last {:.0} s fell behind by {} more each second",
                last.as_secs_f64(),
                span.as_secs_f64(),
                // A rate below nothing was judged to be nothing.
                Behind { amount: u64::try_from(rate / 1_000).unwrap_or_default(), ..*behind }
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(amounts: impl IntoIterator<Item = u64>) -> Lag {
        let mut lag = Lag::over(Duration::from_secs(60));
        for (second, amount) in (0..).zip(amounts) {
            lag.note(Duration::from_secs(second), Behind { amount, unit: "transactions" });
        }
        lag
    }

    #[test]
    fn only_what_does_not_come_nearer_over_a_whole_window_stands() {
        assert!(lag((0..60).map(|_| 500)).stands().is_none(), "the window is not full");
        let stood = lag((0..61).map(|_| 500)).stands().unwrap();
        assert!(stood.contains("500 transactions behind after 60 s"), "{stood}");
        let fell = lag((0..90).map(|second| 1_000 + second * 10)).stands().unwrap();
        assert!(fell.contains("by 10 transactions more each second"), "{fell}");
        assert!(lag((0..90).map(|second| 100_000 - second * 100)).stands().is_none(), "it comes nearer");
        // In waves, and nearer.
        let waves = (0..90).map(|second| 100_000 - second * 400 + (second % 10) * 1_000);
        assert!(lag(waves).stands().is_none());
        // It came nearer for long and does so no more.
        let ends = (0..200).map(|second| if second < 100 { 100_000 - second * 900 } else { 10_000 });
        assert!(lag(ends).stands().is_some());
        assert!(lag((0..90).map(|_| 0)).stands().is_none(), "it is there");
    }

    #[test]
    fn what_is_left_is_told() {
        let mut lag = lag((0..61).map(|second| 10_000 - second * 100));
        let told = lag.note(Duration::from_secs(61), Behind { amount: 3_900, unit: "transactions" });
        assert_eq!(told, "behind by 3900 transactions, about 39 s to go");
        let told = lag.note(Duration::from_secs(62), Behind { amount: 4 * 1_048_576, unit: "bytes" });
        assert!(told.starts_with("behind by 4.0 MB"), "{told}");
        lag.clear();
        assert!(lag.stands().is_none());
    }
}
