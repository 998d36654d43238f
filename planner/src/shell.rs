//! Command lines that people copy: every word as a shell takes it for that word and nothing else.
//!
//! Names come from tables and records of anybody: `$(reboot)` is a workflow's name like any other. [`Command`] builds every command
//! that is offered for copying.

use std::fmt::Write;

/// A character that a screen obeys or does not show. Source: Unicode 16, `General_Category` Cc, Cf, Zl, Zp and Zs without the space,
/// and `Default_Ignorable_Code_Point`.
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A word as a POSIX shell reads it back: as it is where it is harmless, else in quotes. What could not be seen is written as
/// `$'\342\200\256'`, which bash, zsh, ksh and POSIX.1-2024 read. An older shell (dash) takes that for a word in plain quotes: a
/// name that does not exist, and nothing of it is run, because neither a quote nor a backslash stands in it.
pub fn quoted(word: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_harmless) {
        return word.to_owned();
    }
    if !word.chars().any(is_hidden) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut out = String::from("$'");
    for c in word.chars() {
        if !(matches!(c, '\'' | '\\') || is_hidden(c)) {
            out.push(c);
            continue;
        }
        for byte in c.to_string().bytes() {
            // Octal, of which a shell takes three digits and no more, whatever follows, in every locale.
            let _ = write!(out, "\\{byte:03o}");
        }
    }
    out + "'"
}

/// A command to be copied: every name in it is quoted for a shell, and none is taken for a flag.
#[derive(Clone, Debug)]
pub struct Command(String);

impl Command {
    /// Begins with words that are the program's own, such as `vtflow workflow start`.
    pub fn new(words: &str) -> Self {
        Self(words.to_owned())
    }

    /// A flag of the program with a value from outside: `--workflow w`.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        let sign = if value.is_empty() || value.starts_with('-') { '=' } else { ' ' };
        self.0.extend([" ", flag]);
        self.0.push(sign);
        self.0 += &quoted(value);
        self
    }

    /// More of the program's own words.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        if !words.is_empty() {
            self.0.extend([" ", words]);
        }
        self
    }

    /// Names from outside, and the program's own flags behind them. If a name begins with a dash, the flags come first and `--` ends
    /// them.
    pub fn names(self, names: &[&str], flags: &str) -> String {
        let has_dash = names.iter().any(|name| name.starts_with('-'));
        let names = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(" ");
        if has_dash { self.words(flags).words("--").words(&names).0 } else { self.words(&names).words(flags).0 }
    }

    /// The whole command.
    pub fn text(self) -> String {
        self.0
    }
}

/// `vtflow workflow VERB KEYSPACE NAME FLAGS`, to be copied.
pub(crate) fn workflow(verb: &str, keyspace: &str, name: &str, flags: &[&str]) -> String {
    Command::new("vtflow workflow").words(verb).names(&[keyspace, name], &flags.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_back() {
        for (word, want) in [
            ("move_t1", "move_t1"),
            ("wf.v2", "wf.v2"),
            ("customer/-80", "customer/-80"),
            ("%s", "%s"),
            ("", "''"),
            ("a b", "'a b'"),
            ("=ls", "'=ls'"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            (r"back\slash", r"'back\slash'"),
            ("quote\"d", "'quote\"d'"),
            ("näme", "'näme'"),
            ("~root", "'~root'"),
            ("Über\nline", r"$'Über\012line'"),
            ("it's\u{202e}\\7", r"$'it\047s\342\200\256\1347'"),
            ("\u{e0041}", r"$'\363\240\201\201'"),
        ] {
            assert_eq!(quoted(word), want);
        }
    }

    #[test]
    fn where_something_is_hidden_nothing_ends_the_quotes() {
        for name in ["a\u{200b}'; touch x; #", "\n'$(id)'\\'", "\\\u{202e}\\"] {
            let quoted = quoted(name);
            let within = quoted.strip_prefix("$'").and_then(|rest| rest.strip_suffix('\'')).unwrap_or_default();
            assert!(!within.is_empty() && !within.contains('\''), "{quoted}");
        }
    }

    #[test]
    fn no_name_is_taken_for_a_flag() {
        let start = |name: &str| Command::new("vtflow workflow start").names(&["customer", name], "--force");
        assert_eq!(start("w"), "vtflow workflow start customer w --force");
        assert_eq!(start("-dash"), "vtflow workflow start --force -- customer -dash");
        assert_eq!(start("-a b"), "vtflow workflow start --force -- customer '-a b'");
        assert_eq!(start("a -b"), "vtflow workflow start customer 'a -b' --force");
        let flag = |value: &str| Command::new("vtctldclient MoveTables").flag("--workflow", value).words("complete").text();
        assert_eq!(flag("w"), "vtctldclient MoveTables --workflow w complete");
        assert_eq!(flag("-w x"), "vtctldclient MoveTables --workflow='-w x' complete");
        assert_eq!(flag(""), "vtctldclient MoveTables --workflow='' complete");
    }
}
