//! Putting right what a diagnosis tells of: the ways out that [`crate::traffic`] lists become acts, performed under the locks of a switch.
//!
//! [`request`] reads what is wanted; [`sight`] looks as a diagnosis does, and at what is needed beside; [`choose`] takes a way out of each
//! deviation, or says why none; [`acts`] makes stages of them; [`engine`] performs those, and looks once more. Nothing is taken back but a
//! record that a primary could not be told of: the same repair again finds what is left.

mod acts;
mod choose;
mod engine;
mod request;
mod sight;
mod words;

pub(crate) use engine::Repair;
