//! What was compared, in figures, and what differs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    known::{KNOWN, Known},
    output::Output,
};

/// A known difference: section and row.
pub type Row = (&'static str, &'static str);

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same output.
    Equal,
    /// The same but for these known differences.
    Known(BTreeSet<Row>),
    /// vtflow does not serve the RPC, and says so; the client sends what it sent.
    Refused,
    /// Rows of that moment are not recorded: exit code, RPCs and kind of output are the same.
    Shape,
    /// Anything else: the first line that differs.
    Different(String),
}

/// Everything that was compared.
#[derive(Debug, Default)]
pub struct Report {
    /// By client and place: how many of each kind.
    figures: BTreeMap<(String, String), [usize; 5]>,
    met: BTreeMap<Row, usize>,
    different: Vec<String>,
    is_verbose: bool,
}

impl Report {
    /// An empty one. `is_verbose`: every comparison is told as it is made.
    pub fn new(is_verbose: bool) -> Self {
        Self { is_verbose, ..Self::default() }
    }

    /// Says what is compared next: the whole takes minutes.
    pub fn begin(&self, what: &str) {
        println!("{what}: after {} commands", self.figures.values().flatten().sum::<usize>());
    }

    /// Compares two outputs, known differences aside.
    pub fn judge(&self, mut ours: Output, mut theirs: Output) -> Verdict {
        let mut met = BTreeSet::new();
        for known in KNOWN {
            if ours == theirs {
                break;
            }
            let before = (ours.clone(), theirs.clone());
            (known.set_aside)(&mut ours, &mut theirs);
            if before != (ours.clone(), theirs.clone()) {
                met.insert((known.section, known.row));
            }
        }
        match ours.difference(&theirs) {
            Some(difference) => Verdict::Different(difference),
            None if met.is_empty() => Verdict::Equal,
            None => Verdict::Known(met),
        }
    }

    /// Counts a comparison. `place` is a snapshot, or what else the command was asked of, with details in parentheses.
    pub fn add(&mut self, client: &str, place: &str, args: &[String], verdict: Verdict) {
        if self.is_verbose {
            println!("{client} {place} {}: {verdict:?}", args.join(" "));
        }
        let kind = place.split(" (").next().unwrap_or(place).to_owned();
        let figures = self.figures.entry((client.to_owned(), kind)).or_default();
        figures[match &verdict {
            Verdict::Equal => 0,
            Verdict::Known(_) => 1,
            Verdict::Shape => 2,
            Verdict::Refused => 3,
            Verdict::Different(_) => 4,
        }] += 1;
        match verdict {
            Verdict::Known(names) => names.into_iter().for_each(|name| *self.met.entry(name).or_default() += 1),
            Verdict::Different(line) => self.different.push(format!("{client} {place}: {}\n    {line}", args.join(" "))),
            Verdict::Equal | Verdict::Refused | Verdict::Shape => {}
        }
    }

    /// Prints the figures and every difference that is not known. `is_whole` says that everything was compared, so that a known
    /// difference that was not met is stale. Returns whether all is well.
    pub fn finish(&self, is_whole: bool) -> bool {
        println!(
            "\n{:<8} {:<32} {:>8} {:>6} {:>6} {:>6} {:>8} {:>10}",
            "client", "against", "commands", "equal", "known", "shape", "refused", "different"
        );
        for ((client, place), [equal, known, shape, refused, different]) in &self.figures {
            let all = equal + known + shape + refused + different;
            println!("{client:<8} {place:<32} {all:>8} {equal:>6} {known:>6} {shape:>6} {refused:>8} {different:>10}");
        }
        if !self.met.is_empty() {
            println!("\nKnown differences:");
        }
        for ((section, row), count) in &self.met {
            println!("  {count:>5} × {section}{}{row}", if section.is_empty() { "" } else { ": " });
        }
        let is_stale = |known: &&Known| is_whole && !known.is_chance && !self.met.contains_key(&(known.section, known.row));
        let stale: Vec<_> = KNOWN.iter().filter(is_stale).collect();
        for Known { section, row, .. } in &stale {
            println!("stale: no output differs any more by {section}: {row}");
        }
        for different in &self.different {
            println!("different: {different}");
        }
        self.different.is_empty() && stale.is_empty()
    }
}
