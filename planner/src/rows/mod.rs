//! Bytes of result rows to typed rows.
