//! Rows to reply.
