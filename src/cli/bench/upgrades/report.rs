//! The figures, as Markdown.

use std::time::Duration;

use super::Seen;
use super::engine::Engine;
use super::floor::Floor;

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    in_place: Vec<(Engine, u32, Seen, Floor)>,
    twins: Vec<(Engine, u32, Seen)>,
}

/// Some figures of one kind.
struct Figures(Vec<f64>);

impl Figures {
    fn new(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The figure that so many of a hundred are not above.
    fn at(&self, of_hundred: usize) -> f64 {
        let rank = (self.0.len() * of_hundred).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or(f64::NAN)
    }

    fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    fn spread(&self, decimals: usize) -> String {
        let least = self.0.first().copied().unwrap_or(f64::NAN);
        format!("{:.decimals$} ({least:.decimals$} .. {:.decimals$})", self.at(50), self.most())
    }

    fn milliseconds(&self) -> String {
        let ms = |seconds: f64| seconds * 1e3;
        format!("{:.0} / {:.0} / {:.0}", ms(self.at(50)), ms(self.at(95)), ms(self.most()))
    }
}

impl Report {
    /// One more upgrade in place, and its floor.
    pub fn in_place(&mut self, engine: Engine, mb: u32, seen: Seen, floor: Floor) {
        self.in_place.push((engine, mb, seen, floor));
    }

    /// One more upgrade by a twin.
    pub fn twin(&mut self, engine: Engine, mb: u32, seen: Seen) {
        self.twins.push((engine, mb, seen));
    }

    /// Prints what there is.
    pub fn print(&self, writers: u16) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let build =
            if cfg!(debug_assertions) { "a debug build: figures mean little" } else { "release build" };
        let today = chrono::Utc::now().format("%Y-%m-%d");
        println!();
        println!("{today}, {cores} cores, {build}, coffer {}", env!("CARGO_PKG_VERSION"));
        self.print_in_place(writers);
        self.print_twins(writers);
        self.print_steps();
    }

    /// Where the gap goes.
    fn print_steps(&self) {
        println!();
        println!("while the address is held; milliseconds of each step: median (most)");
        println!();
        for engine in Engine::ALL {
            let in_place = self.in_place.iter().map(|(e, mb, seen, _)| ("in place", *e, *mb, seen));
            let twins = self.twins.iter().map(|(e, mb, seen)| ("twin", *e, *mb, seen));
            let all: Vec<_> = in_place.chain(twins).filter(|(_, e, ..)| *e == engine).collect();
            let mut kinds: Vec<(&str, u32)> = all.iter().map(|(how, _, mb, _)| (*how, *mb)).collect();
            kinds.dedup();
            for (how, mb) in kinds {
                let rows = || all.iter().filter(|(h, _, m, _)| (*h, *m) == (how, mb)).map(|(.., seen)| seen);
                let Some(first) = rows().next() else { continue };
                let steps: Vec<String> = first
                    .held
                    .iter()
                    .map(|(step, _)| {
                        let times = rows().flat_map(|seen| seen.held.iter().filter(|(name, _)| name == step));
                        let times = Figures::new(times.map(|(_, seconds)| seconds * 1e3));
                        format!("{step} {:.0} ({:.0})", times.at(50), times.most())
                    })
                    .collect();
                println!("- {}, {mb} MB, {how}: {}", engine.title(), steps.join(", "));
            }
        }
    }

    fn print_in_place(&self, writers: u16) {
        if self.in_place.is_empty() {
            return;
        }
        println!();
        println!(
            "in place, {writers} writers; the floor is the engine's own commands on the same data; seconds: median (least \
             .. most)"
        );
        println!();
        println!(
            "| in place | upgrades | gap at the endpoint | floor's gap | ratio | longest gap of a writer | whole upgrade | \
             floor with its copy | errors of {writers} sessions: most |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let mut kinds: Vec<(Engine, u32)> =
            self.in_place.iter().map(|(engine, mb, ..)| (*engine, *mb)).collect();
        kinds.dedup();
        for (engine, mb) in kinds {
            let rows = || self.in_place.iter().filter(move |(e, m, ..)| (*e, *m) == (engine, mb));
            let of = |what: fn(&Seen, &Floor) -> f64| {
                Figures::new(rows().map(|(_, _, seen, floor)| what(seen, floor)))
            };
            println!(
                "| {}, {mb} MB | {} | {} | {} | {} | {} | {} | {} | {} |",
                engine.title(),
                rows().count(),
                of(|seen, _| seen.gap.as_secs_f64()).spread(2),
                of(|_, floor| floor.gap.as_secs_f64()).spread(2),
                of(|seen, floor| seen.gap.as_secs_f64() / floor.gap.as_secs_f64()).spread(2),
                of(|seen, _| seen.longest.as_secs_f64()).spread(2),
                of(|seen, _| seen.whole.as_secs_f64()).spread(1),
                of(|_, floor| floor.whole.as_secs_f64()).spread(1),
                rows().map(|(_, _, seen, _)| seen.errors).max().unwrap_or(0),
            );
        }
    }

    fn print_twins(&self, writers: u16) {
        if self.twins.is_empty() {
            return;
        }
        println!();
        println!("twin, {writers} writers; milliseconds: median / 95 of 100 / most");
        println!();
        println!(
            "| twin | upgrades | gap at the endpoint | longest gap of a writer | errors of {writers} sessions: median, most \
             | sessions ended: median | comparison, s | whole upgrade, s |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let mut kinds: Vec<(Engine, u32)> = self.twins.iter().map(|(engine, mb, _)| (*engine, *mb)).collect();
        kinds.dedup();
        for (engine, mb) in kinds {
            let rows: Vec<&(Engine, u32, Seen)> =
                self.twins.iter().filter(|(e, m, _)| (*e, *m) == (engine, mb)).collect();
            let of = |what: fn(&Seen) -> f64| Figures::new(rows.iter().map(|(_, _, seen)| what(seen)));
            let time = |what: fn(&Seen) -> Duration| {
                Figures::new(rows.iter().map(|(_, _, seen)| what(seen).as_secs_f64()))
            };
            #[expect(clippy::cast_precision_loss, reason = "a handful of sessions")]
            let (errors, sessions) = (of(|seen| seen.errors as f64), of(|seen| seen.sessions as f64));
            println!(
                "| {}, {mb} MB | {} | {} | {} | {:.0}, {:.0} | {:.0} | {} | {} |",
                engine.title(),
                rows.len(),
                time(|seen| seen.gap).milliseconds(),
                time(|seen| seen.longest).milliseconds(),
                errors.at(50),
                errors.most(),
                sessions.at(50),
                time(|seen| seen.compared).spread(1),
                time(|seen| seen.whole).spread(1),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_ranked() {
        let figures = Figures::new((1..=20).rev().map(f64::from));
        assert_eq!((figures.at(50), figures.at(95), figures.most()), (10.0, 19.0, 20.0));
        assert_eq!(figures.spread(0), "10 (1 .. 20)");
        assert_eq!(Figures::new([0.25].into_iter()).milliseconds(), "250 / 250 / 250");
        assert!(Figures::new(std::iter::empty()).most().is_nan());
    }
}
