//! Flags in both of Vitess' spellings: with dashes, as v23 and later write them, and with underscores, as v10 to v22 do.
//!
//! Every long flag has its other spelling as an alias, so that nothing but flags is read in two ways: values, paths and what stands behind `--` are
//! as they were given. Source: `go/vt/utils/flags.go`.

use clap::Command;

/// The command line with every long flag in both spellings.
pub(super) fn both(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let mut long: Vec<String> = arg.get_long().map(str::to_owned).into_iter().collect();
        long.extend(arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned));
        // The parser keeps names for as long as the program runs; they are made once.
        let other: Vec<&'static str> =
            long.iter().filter(|flag| flag.contains('-')).map(|flag| &*flag.replace('-', "_").leak()).collect();
        arg.aliases(other)
    });
    command.mut_subcommands(both)
}
