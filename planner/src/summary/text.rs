//! Texts from outside on their way to a person: what may not be obeyed is escaped, what may be copied is quoted.
//!
//! Names and messages come from rows and records that anybody may have written. [`printable`] is the one function for all that is
//! shown, on a terminal and on the page; [`Command`] builds every command that is offered for copying.

/// A text that cannot move the cursor, break or reverse a line, hide a part of itself or look like another: control characters, format
/// characters, blanks other than the space and what leaves no trace on a screen are shown escaped, as `\n` or `\u{202e}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => out.extend(c.escape_default()),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A character that a screen obeys or does not show. Source: Unicode 16, `General_Category` Cc, Cf, Zl, Zp and Zs without the space,
/// and `Default_Ignorable_Code_Point`.
fn is_hidden(c: char) -> bool {
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

/// A word as a POSIX shell reads it back: as it is where it is harmless, else in quotes. What could not be seen is written as `$'\u202e'`,
/// which bash, zsh and ksh read.
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
        match c {
            '\n' => out.push_str(r"\n"),
            '\t' => out.push_str(r"\t"),
            '\r' => out.push_str(r"\r"),
            '\'' | '\\' => out.extend(['\\', c]),
            c if is_hidden(c) && u32::from(c) <= 0xffff => out.extend([format!("\\u{:04x}", u32::from(c))]),
            c if is_hidden(c) => out.extend([format!("\\U{:08x}", u32::from(c))]),
            c => out.push(c),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_screen_obeys_comes_through() {
        assert_eq!(printable("a\n\u{1b}[31mb\tü"), r"a\n\u{1b}[31mb\tü");
        assert_eq!(printable("日本 naïve 🦀"), "日本 naïve 🦀");
        let hidden = (0x200b..=0x200f).chain(0x202a..=0x202e).chain(0x2066..=0x2069).chain([0x2028, 0x2029, 0xfeff, 0xad, 0x7f]);
        let hidden = hidden.chain([0x9b, 0x61c, 0xa0, 0x3000, 0x3164, 0xfe0f, 0xe0041, 0xe0101, 0]);
        for c in hidden.filter_map(char::from_u32) {
            let shown = printable(&format!("a{c}b"));
            assert_eq!(shown, format!("a{}b", c.escape_unicode()), "{:x}", u32::from(c));
            assert!(quoted(&c.to_string()).chars().all(|c| c.is_ascii_graphic()), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn a_shell_reads_a_quoted_word_back() {
        for (word, want) in [
            ("move_t1", "move_t1"),
            ("wf.v2", "wf.v2"),
            ("customer/-80", "customer/-80"),
            ("%s", "%s"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            (r"back\slash", r"'back\slash'"),
            ("quote\"d", "'quote\"d'"),
            ("näme", "'näme'"),
            ("~root", "'~root'"),
            ("Über\nline", r"$'Über\nline'"),
            ("it's\u{202e}\\", r"$'it\'s\u202e\\'"),
            ("\u{e0041}", r"$'\U000e0041'"),
        ] {
            assert_eq!(quoted(word), want);
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
