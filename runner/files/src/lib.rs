//! How files are opened, read and made, wherever vtflow does so: [`given_file`] is what a person names, [`private_file`] what only its
//! owner may read, and what a stranger may have made.

pub mod given_file;
pub mod private_file;
