//! One request, its answers in many orders: the end must be the same, to the byte.

use vtflow_planner::{Ask, Call, Reply};

use super::{Cluster, ask_name};

/// Orders by chance for each request, beside those that are chosen.
const RANDOM_ORDERS: u64 = 48;

/// Runs the request over the cluster with its answers in many orders, and expects the same reply (result, failures and what was
/// written) whatever came first. For reads and writes alike. Gives that reply.
///
/// The orders: as asked; the last one first; every answer in turn as early as can be, and held back to the end, which is where an
/// error that wins by being the last or the first shows; and some by chance, whose seed the failure names.
pub(crate) fn same_in_every_order(cluster: &Cluster, call: &Call) -> Reply {
    let (want, asks) = cluster.run(call);
    let expect =
        |order: &str, got: &Reply| assert_eq!(got, &want, "{}, {order}: another reply than in the order of asks", call.path);
    expect("the last one first", &cluster.run_choosing(call, |waiting| waiting.len() - 1).0);
    let mut names: Vec<String> = asks.iter().map(ask_name).collect();
    names.sort();
    names.dedup();
    for name in &names {
        let is_it = |ask: &Ask| ask_name(ask) == *name;
        let early = |waiting: &[Ask]| waiting.iter().position(is_it).unwrap_or(0);
        expect(&format!("{name} as early as can be"), &cluster.run_choosing(call, early).0);
        let late = |waiting: &[Ask]| waiting.iter().position(|ask| !is_it(ask)).unwrap_or(0);
        expect(&format!("{name} held back"), &cluster.run_choosing(call, late).0);
        let late = |waiting: &[Ask]| waiting.iter().rposition(|ask| !is_it(ask)).unwrap_or(0);
        expect(&format!("{name} held back, the last one of the others first"), &cluster.run_choosing(call, late).0);
    }
    for seed in 0..RANDOM_ORDERS {
        let mut state = seed;
        let pick = |waiting: &[Ask]| {
            let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
            usize::try_from(scattered(&mut state) % count).unwrap_or(0)
        };
        expect(&format!("seed {seed}"), &cluster.run_choosing(call, pick).0);
    }
    want
}

/// The next number of a sequence that a seed gives: splitmix64.
fn scattered(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
