//! Moving traffic between two keyspaces: what is looked at, what is refused, and the steps, each with what takes it back.
//!
//! [`look`] reads everything into a [`scene`]; [`refusals`] holds a [`request`] against it; [`steps`] says what is left to do; [`engine`]
//! does it by [`perform`], or says what it would do ([`dry_run`]). What is not taken back once it was begun (completing, cancelling,
//! mirroring) is [`forward`]'s; what others have left is [`mod@repair`]'s. The parts are [`act`]s and [`edit`]s of records. Facts and texts are
//! those of Vitess, whose clients know them; `docs/compat.md` lists what differs.

mod act;
mod begun;
mod dry_run;
mod edit;
pub(crate) mod engine;
pub(crate) mod forward;
mod gating;
mod leaving;
mod look;
mod member;
mod name;
mod perform;
mod phases;
mod refusals;
mod reopen;
pub(crate) mod repair;
mod report;
mod request;
mod reverse;
mod scene;
mod sequences;
mod served;
mod shards;
mod steps;
mod stored;
mod streams;
mod vschema;
