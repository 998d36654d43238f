//! One request, its answers in many orders: the end must be the same, to the byte.

use vtflow_planner::{Ask, Call, Reply, What};

use super::Cluster;

/// Orders by chance for each request, beside those that are chosen.
const RANDOM_ORDERS: u64 = 48;

/// Runs the request over the cluster with its answers in many orders, and expects the same reply (result, failures and what was
/// written) whatever came first, and the same asks. For reads and writes alike. Gives that reply.
///
/// The orders: as asked; the last one first; every answer in turn as early as can be, and held back to the end, which is where an
/// error that wins by being the last or the first shows; and some by chance, whose seed the failure names.
pub(crate) fn same_in_every_order(cluster: &Cluster, call: &Call) -> Reply {
    same_in_some_orders(cluster, call, RANDOM_ORDERS)
}

/// The same with so many orders by chance.
pub(crate) fn same_in_some_orders(cluster: &Cluster, call: &Call, by_chance: u64) -> Reply {
    let (want, asks) = cluster.run(call);
    let want_asks = described(&asks);
    let expect = |order: &str, (got, asks): (Reply, Vec<Ask>)| {
        assert_eq!(got, want, "{}, {order}: another reply than in the order of asks", call.path);
        assert_eq!(described(&asks), want_asks, "{}, {order}: other asks than in the order of asks", call.path);
    };
    expect("the last one first", cluster.run_choosing(call, |waiting| waiting.len() - 1));
    let mut names: Vec<String> = asks.iter().map(place).collect();
    names.sort();
    names.dedup();
    for name in &names {
        let is_it = |ask: &Ask| place(ask) == *name;
        let early = |waiting: &[Ask]| waiting.iter().position(is_it).unwrap_or(0);
        expect(&format!("{name} as early as can be"), cluster.run_choosing(call, early));
        let late = |waiting: &[Ask]| waiting.iter().position(|ask| !is_it(ask)).unwrap_or(0);
        expect(&format!("{name} held back"), cluster.run_choosing(call, late));
        let late = |waiting: &[Ask]| waiting.iter().rposition(|ask| !is_it(ask)).unwrap_or(0);
        expect(&format!("{name} held back, the last one of the others first"), cluster.run_choosing(call, late));
    }
    for seed in 0..by_chance {
        let mut state = seed;
        let pick = |waiting: &[Ask]| {
            let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
            usize::try_from(scattered(&mut state) % count).unwrap_or(0)
        };
        expect(&format!("seed {seed}"), cluster.run_choosing(call, pick));
    }
    want
}

/// What an ask is about, the same in every order.
pub(crate) fn place(ask: &Ask) -> String {
    match &ask.what {
        What::TopoGet { cell, path } => format!("get {cell} {path}"),
        What::TopoRange { cell, prefix } => format!("range {cell} {prefix}"),
        What::TopoList { cell, prefix } => format!("list {cell} {prefix}"),
        What::TopoPut { cell, path, .. } => format!("put {cell} {path}"),
        What::TopoDelete { cell, path, .. } => format!("delete {cell} {path}"),
        What::TopoLock { path, .. } => format!("lock {path}"),
        What::TopoUnlock { lock } => format!("unlock {}", lock.0),
        What::TabletCall { tablet, about, .. } => format!("call {} {}", tablet.alias, about.subject),
        What::TabletPage { tablet, path } => format!("page {} {path}", tablet.alias),
    }
}

/// What was asked, in no order. Locks are given back by the number of the ask that took them, which is another one in each order.
fn described(asks: &[Ask]) -> Vec<String> {
    let is_alike = |ask: &&Ask| !matches!(ask.what, What::TopoUnlock { .. });
    let mut described: Vec<String> = asks.iter().filter(is_alike).map(|ask| format!("{:?}", ask.what)).collect();
    described.sort();
    described
}

/// The next number of a sequence that a seed gives: splitmix64.
pub(crate) fn scattered(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
