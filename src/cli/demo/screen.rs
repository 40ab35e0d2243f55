//! What the demo prints: live lines in a terminal, plain lines in a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Where the demo prints.
pub struct Screen {
    began: Instant,
    live: bool,
}

/// A line that is being worked on.
pub struct Step {
    name: String,
    began: Instant,
    since: Instant,
    live: bool,
}

const WIDTH: usize = 72;

impl Default for Screen {
    /// The standard output.
    fn default() -> Self {
        Self { began: Instant::now(), live: std::io::stdout().is_terminal() }
    }
}

impl Screen {
    /// Begins a line.
    pub fn begin(&self, name: &str) -> Step {
        let step = Step { name: name.to_owned(), began: self.began, since: Instant::now(), live: self.live };
        step.tell("");
        step
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        println!("{} {line}", stamp(self.began));
    }

    /// A table of three columns.
    pub fn table(&self, rows: &[(String, String, String)]) {
        let width = |of: fn(&(String, String, String)) -> &String| {
            rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
        };
        let (a, b, c) = (width(|r| &r.0), width(|r| &r.1), width(|r| &r.2));
        println!();
        for (at, row) in rows.iter().enumerate() {
            println!("  {:<a$}   {:>b$}   {:>c$}", row.0, row.1, row.2);
            if at == 0 {
                println!("  {}", "-".repeat(a + b + c + 6));
            }
        }
        println!();
    }
}

impl Step {
    /// Says how far it is; only a terminal shows it.
    pub fn tell(&self, how_far: &str) {
        if self.live {
            let line = format!("{} {} … {how_far}", stamp(self.began), self.name);
            let shown: String = line.chars().take(WIDTH + 40).collect();
            print!("\r\x1b[K{shown}");
            flush();
        }
    }

    /// It is done.
    pub fn done(self, what: &str) {
        let took = self.since.elapsed().as_secs_f64();
        self.end(what, Some(took));
    }

    /// It ended, after so many seconds.
    pub fn ended(self, what: &str, took: Option<f64>) {
        self.end(what, took);
    }

    fn end(self, what: &str, took: Option<f64>) {
        let took = took.map_or_else(String::new, |took| format!(" ({took:.1} s)"));
        let clear = if self.live { "\r\x1b[K" } else { "" };
        println!("{clear}{} {}: {what}{took}", stamp(self.began), self.name);
        flush();
    }
}

fn stamp(began: Instant) -> String {
    format!("{:6.1} s", began.elapsed().as_secs_f64())
}

fn flush() {
    // A closed pipe is met by the next println, which ends the demo.
    let _ = std::io::stdout().flush();
}
