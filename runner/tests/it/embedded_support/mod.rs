//! What the tests of the embedded cluster share: a gRPC codec that hands messages through as bytes.

#[allow(unused_imports, reason = "some test binaries call through other helpers only")]
pub(crate) use vtflow::raw::RawCodec as Raw;
