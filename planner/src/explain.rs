//! A flow's asks as people and tools read them.
