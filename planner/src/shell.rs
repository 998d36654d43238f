//! Command lines that people copy: every word as a shell takes it for that word and nothing else.
//!
//! Names come from tables and records of anybody: `$(reboot)` is a workflow's name like any other.

use std::fmt::Write;

/// One word of a command line for a POSIX shell; with characters that a terminal would not show, for bash, zsh and ksh (`$'…'`).
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let is_shown = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.chars().all(is_shown) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut quoted = "$'".to_owned();
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if is_shown(c) => quoted.push(c),
            c => {
                for byte in c.to_string().bytes() {
                    // Octal, of which a shell takes three digits and no more, whatever follows.
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
        }
    }
    quoted + "'"
}

/// `vtflow workflow VERB KEYSPACE NAME FLAGS`, to be copied. A name that looks like a flag comes last, behind `--`.
pub fn workflow(verb: &str, keyspace: &str, name: &str, flags: &[&str]) -> String {
    let mut words = vec!["vtflow workflow".to_owned(), verb.to_owned()];
    let names = [word(keyspace), word(name)];
    let flags = flags.iter().map(|&flag| flag.to_owned());
    if keyspace.starts_with('-') || name.starts_with('-') {
        words.extend(flags);
        words.push("--".into());
        words.extend(names);
    } else {
        words.extend(names);
        words.extend(flags);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_that_word_in_a_shell() {
        for (text, want) in [
            ("move_big2", "move_big2"),
            ("it's", r"'it'\''s'"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("", "''"),
            ("%s", "%s"),
            (r"back\slash", r"'back\slash'"),
            ("näme", "'näme'"),
            ("Über\nline", r"$'Über\012line'"),
            ("a\u{202e}'7", r"$'a\342\200\256\'7'"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(word(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_name_that_looks_like_a_flag_stands_behind_two_dashes() {
        assert_eq!(
            workflow("delete", "customer", "old copy", &["--ignore-source"]),
            "vtflow workflow delete customer 'old copy' --ignore-source"
        );
        assert_eq!(workflow("delete", "customer", "-dash", &["--force"]), "vtflow workflow delete --force -- customer -dash");
    }
}
