//! What connections to every peer share: how they are made and kept, one call on them, TLS, and the words for what broke.

pub(crate) mod call;
pub(crate) mod cause;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod grpc;
pub(crate) mod link;
pub mod network;
pub(crate) mod room;
pub mod tls;
