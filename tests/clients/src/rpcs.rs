//! Which RPCs an unmodified client can send, by sending each of its commands once, and who answers them: vtflow itself, or the vtctld
//! that it forwards to, in whose place stands a second vtflow that writes down what arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};

use crate::{
    client::Client,
    live::{Programs, Served},
};

/// Commands of cobra, which the client is made with, and of no server.
const NOT_OF_VITESS: &[&str] = &["completion", "help"];
/// Commands that need no server: what they do, they do alone.
const WITHOUT_RPC: &[&str] = &["GenerateShardRanges", "WriteTopologyPath"];

/// What became of an RPC.
#[derive(Default)]
struct Seen {
    commands: BTreeSet<String>,
    is_served: bool,
    is_forwarded: bool,
}

/// Sends every command once and prints the table. Returns what is wrong; empty when nothing is.
///
/// # Errors
///
/// Something does not run.
pub fn table(programs: &Programs, tests: &Path, client: &Client) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let text = std::fs::read_to_string(tests.join("clients/commands-v24.txt")).context("commands-v24.txt")?;
    let commands: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let there = leaves(client, &[])?;
    for command in &there {
        if !commands.iter().any(|line| line.split(' ').take(command.len()).eq(command.iter())) {
            wrong.push(format!("the client has a command that commands-v24.txt lacks: {}", command.join(" ")));
        }
    }
    for line in &commands {
        if !there.iter().any(|command| line.split(' ').take(command.len()).eq(command.iter())) {
            wrong.push(format!("commands-v24.txt has a command that the client lacks: {line}"));
        }
    }

    let snapshot = tests.join("snapshots/movetables-running").display().to_string();
    let behind = Served::vtflow(programs, &["serve", "--snapshot", &snapshot])?;
    let front = Served::vtflow(programs, &["serve", "--snapshot", &snapshot, "--allow-writes", "--forward-to", &behind.address])?;
    let file = tests.join("clients/commands-v24.txt").display().to_string();
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for line in commands {
        let args: Vec<&str> = line.split(' ').map(|word| if word == "FILE" { file.as_str() } else { word }).collect();
        let (in_front, at_the_back) = (front.mark(), behind.mark());
        let without = WITHOUT_RPC.contains(&args[0]);
        let ran = client.run(if without { None } else { Some(&front.address) }, &args)?;
        let expected = usize::from(!without);
        let arrived = front.logged(in_front, expected);
        // Both write their lines when the RPC ends, the one behind a moment earlier.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let forwarded = behind.logged(at_the_back, 0);
        if arrived.is_empty() && !without {
            wrong.push(format!("{line}: sends nothing: {} {}", ran.stdout.trim(), ran.stderr.lines().last().unwrap_or_default()));
        }
        let forwarded: BTreeSet<String> = forwarded.into_iter().map(|rpc| rpc.method).collect();
        for rpc in arrived {
            let entry = seen.entry(rpc.method.clone()).or_default();
            entry.commands.insert(leaf_of(&there, &args));
            if forwarded.contains(&rpc.method) {
                entry.is_forwarded = true;
            } else if rpc.code != UNIMPLEMENTED {
                entry.is_served = true;
            }
        }
    }

    let known = listed(programs)?;
    println!("\nRPCs that vtctldclient {} sends, and who answers them (with --allow-writes and --forward-to):", client.version);
    for (method, seen) in &seen {
        let who = match (seen.is_served, seen.is_forwarded) {
            (true, true) => "vtflow, a part forwarded",
            (true, false) => "vtflow",
            (false, true) => "forwarded",
            (false, false) => "nobody",
        };
        let is_new = !known.contains(method);
        let name = method.rsplit('/').next().unwrap_or(method);
        let commands = seen.commands.iter().cloned().collect::<Vec<_>>().join(", ");
        println!("  {name:<30} {who:<24} {commands}{}", if is_new { "  NEW: not in vtflow serve --list-rpcs" } else { "" });
        if is_new || who == "nobody" {
            wrong.push(format!("{method}: {who}{}", if is_new { ", and not in vtflow serve --list-rpcs" } else { "" }));
        }
    }
    let count = |served: bool| seen.values().filter(|seen| seen.is_served == served).count();
    println!("  {} RPCs: {} served, {} forwarded", seen.len(), count(true), count(false));
    let unsent: Vec<&str> =
        known.iter().filter(|method| !seen.contains_key(*method)).filter_map(|method| method.rsplit('/').next()).collect();
    println!("  RPCs of Vitess that no command of this client sends: {}", unsent.join(", "));
    Ok(wrong)
}

/// Prints what is wrong.
pub fn print(wrong: &[String]) {
    for line in wrong {
        println!("wrong: {line}");
    }
}

/// gRPC's code.
const UNIMPLEMENTED: u32 = 12;

/// The commands below a command that have none below themselves, by the client's own help.
fn leaves(client: &Client, path: &[String]) -> anyhow::Result<Vec<Vec<String>>> {
    let args: Vec<String> = path.iter().cloned().chain(["--help".to_owned()]).collect();
    let help = client.run(None, &args)?.stdout;
    let list = help.lines().skip_while(|line| *line != "Available Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        list.filter_map(|line| line.split_whitespace().next()).filter(|n| !NOT_OF_VITESS.contains(n)).collect();
    if names.is_empty() {
        return Ok(vec![path.to_vec()]);
    }
    let mut leaves_below = Vec::new();
    for name in names {
        leaves_below.extend(leaves(client, &[path, &[name.to_owned()]].concat())?);
    }
    Ok(leaves_below)
}

fn leaf_of(leaves: &[Vec<String>], args: &[&str]) -> String {
    let leaf = leaves.iter().find(|leaf| args.iter().take(leaf.len()).eq(leaf.iter()));
    leaf.map_or_else(|| args[0].to_owned(), |leaf| leaf.join(" "))
}

/// The RPCs that vtflow knows by name.
fn listed(programs: &Programs) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new(&programs.vtflow).args(["serve", "--list-rpcs"]).output().context("vtflow serve --list-rpcs")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<String> = text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    if names.len() < 100 {
        bail!("vtflow serve --list-rpcs lists {} RPCs", names.len());
    }
    Ok(names)
}
