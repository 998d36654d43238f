//! Repairs: what is broken is put right as its diagnosis says, and nothing else is changed; whatever fails on the way, the same repair
//! again ends there.

mod back;
mod cases;
mod choices;
mod deaths;
mod faults;
mod mended;
