//! What several of the tests start, drive and read.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod etcd;
pub(crate) mod far;
pub(crate) mod faulty;
pub(crate) mod live;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod serving;
