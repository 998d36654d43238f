//! Flags of a legacy command line, as the Go library reads them that vtctld uses.
//!
//! Flags may stand between the other arguments; `--` ends them. One dash counts as two: older releases were called so. Dashes
//! and underscores within a name are the same. Facts: spf13/pflag's `flag.go` and its error texts.

use std::collections::BTreeMap;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or `=true` and the like.
    Bool,
    Text,
    /// A signed 64-bit integer.
    Integer,
}

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    texts: BTreeMap<&'static str, String>,
    /// The arguments that are no flags.
    pub(super) arguments: Vec<String>,
    /// `--help` was among them; what followed was not read.
    pub(super) wants_help: bool,
}

impl Flags {
    /// Reads the arguments. `known` has the flags' names, with dashes.
    ///
    /// # Errors
    /// The library's texts.
    pub(super) fn parse(args: &[String], known: &[(&'static str, Kind)]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (dashes, rest) = match (arg.strip_prefix("--"), arg.strip_prefix('-')) {
                (Some(""), _) => {
                    flags.arguments.extend(args.cloned());
                    break;
                }
                (Some(rest), _) => ("--", rest),
                (None, Some(rest)) if !rest.is_empty() => ("-", rest),
                _ => {
                    flags.arguments.push(arg.clone());
                    continue;
                }
            };
            let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
            if name.is_empty() || name.starts_with('-') {
                return Err(format!("bad flag syntax: {arg}"));
            }
            let Some(&(name, kind)) = known.iter().find(|(known, _)| *known == name.replace('_', "-")) else {
                if matches!(name, "help" | "h") {
                    flags.wants_help = true;
                    return Ok(flags);
                }
                return Err(match (dashes, name.chars().next()) {
                    ("-", Some(first)) => format!("unknown shorthand flag: '{first}' in {arg}"),
                    _ => format!("unknown flag: --{name}"),
                });
            };
            let value = match (value, kind) {
                (Some(value), _) => value,
                (None, Kind::Bool) => "true",
                (None, _) => args.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            };
            check(kind, value).map_err(|cause| format!("invalid argument \"{value}\" for \"--{name}\" flag: {cause}"))?;
            flags.texts.insert(name, value.to_owned());
        }
        Ok(flags)
    }

    /// A flag's text; empty if it was not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// Whether a flag of kind `Bool` was given, and not as false.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.texts.get(name).is_some_and(|text| TRUE.contains(&text.as_str()))
    }

    /// A flag of kind `Integer`; 0 if it was not given.
    pub(super) fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

fn check(kind: Kind, value: &str) -> Result<(), String> {
    match kind {
        Kind::Bool if !TRUE.contains(&value) && !FALSE.contains(&value) => {
            Err(format!("strconv.ParseBool: parsing \"{value}\": invalid syntax"))
        }
        Kind::Integer if value.parse::<i64>().is_err() => Err(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")),
        _ => Ok(()),
    }
}

/// Source: Go, `strconv.ParseBool`.
const TRUE: &[&str] = &["1", "t", "T", "TRUE", "true", "True"];
const FALSE: &[&str] = &["0", "f", "F", "FALSE", "false", "False"];

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, Kind)] = &[("dry-run", Kind::Bool), ("shards", Kind::Text), ("limit", Kind::Integer)];

    fn parse(line: &str) -> Result<Flags, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&args, KNOWN)
    }

    #[test]
    fn flags_stand_anywhere_with_one_dash_or_two() {
        for line in
            ["--dry-run --shards -80,80- ks show", "ks --shards=-80,80- show -dry_run", "-shards -80,80- ks --dry_run=T -- show"]
        {
            let flags = parse(line).unwrap();
            assert_eq!((flags.is_set("dry-run"), flags.text("shards")), (true, "-80,80-"), "{line}");
            assert_eq!(flags.arguments, ["ks", "show"], "{line}");
        }
        let flags = parse("--dry-run=false --limit 7 -- --x - -").unwrap();
        assert_eq!((flags.is_set("dry-run"), flags.integer("limit")), (false, 7));
        assert_eq!(flags.arguments, ["--x", "-", "-"]);
        assert_eq!(parse("ks - --limit 7").unwrap().arguments, ["ks", "-"], "a dash alone is no flag");
        assert!(parse("ks -h --nope").unwrap().wants_help && parse("--help").unwrap().wants_help);
    }

    #[test]
    fn what_cannot_be_is_said_as_the_library_says_it() {
        for (line, want) in [
            ("--nope=1", "unknown flag: --nope"),
            ("-xy", "unknown shorthand flag: 'x' in -xy"),
            ("--shards", "flag needs an argument: --shards"),
            ("---x", "bad flag syntax: ---x"),
            ("--=x", "bad flag syntax: --=x"),
            (
                "--dry-run=maybe",
                r#"invalid argument "maybe" for "--dry-run" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            ("--limit x", r#"invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax"#),
        ] {
            assert_eq!(parse(line), Err(want.to_owned()), "{line}");
        }
    }
}
