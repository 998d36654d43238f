//! What was looked at and what came of it: printed as it happens, and as a list at the end.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

/// Checks by part and stage.
#[derive(Debug)]
pub(crate) struct Report {
    parts: Vec<PartResult>,
    begun: Instant,
}

#[derive(Debug)]
struct PartResult {
    name: &'static str,
    begun: Instant,
    took: Duration,
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { parts: Vec::new(), begun: Instant::now() }
    }

    /// Begins a part; what is told from now on is of it.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.end();
        say(&format!("\n{name}"));
        let begun = Instant::now();
        self.parts.push(PartResult { name, begun, took: Duration::ZERO, passed: 0, failed: Vec::new() });
    }

    fn end(&mut self) {
        if let Some(part) = self.parts.last_mut()
            && part.took.is_zero()
        {
            part.took = part.begun.elapsed();
        }
    }

    /// One thing that was looked at; `wrong` says what is wrong with it.
    pub(crate) fn check(&mut self, what: &str, wrong: Option<String>) {
        let Some(part) = self.parts.last_mut() else { return };
        match wrong {
            None => {
                part.passed += 1;
                say(&format!("  ok      {what}"));
            }
            Some(wrong) => {
                say(&format!("  FAILED  {what}: {wrong}"));
                part.failed.push(format!("{what}: {wrong}"));
            }
        }
    }

    /// Something worth telling that is no check.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.parts.is_empty() {
            say(&format!("  --      {text}"));
        }
    }

    /// Prints the list; whether everything is as it should be.
    pub(crate) fn finish(&mut self) -> bool {
        self.end();
        say("\n  part                   checks  failed    time");
        for part in &self.parts {
            let checks = part.passed + part.failed.len();
            say(&format!("  {:<22} {checks:>6} {:>7} {:>6.0} s", part.name, part.failed.len(), part.took.as_secs_f64()));
        }
        let passed: usize = self.parts.iter().map(|part| part.passed).sum();
        let failed: Vec<(&str, &String)> =
            self.parts.iter().flat_map(|part| part.failed.iter().map(|wrong| (part.name, wrong))).collect();
        for (part, wrong) in &failed {
            say(&format!("\nFAILED  {part}: {wrong}"));
        }
        say(&format!("\n{passed} passed, {} failed in {:.0} s", failed.len(), self.begun.elapsed().as_secs_f64()));
        failed.is_empty()
    }
}

/// A line on the standard output; nobody is told if it is closed.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
