//! Phases and deviations, each from a healthy evidence with one thing changed.

mod apart;
mod broken;
mod evidence;
mod healthy;
mod leftovers;
mod reshard;
mod told;
mod unread;
