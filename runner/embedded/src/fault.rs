//! What may be wrong with a tablet, for demonstrations and tests.

use std::time::Duration;

/// What is wrong with a tablet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Its port refuses connections.
    Down,
    /// It accepts connections and never answers.
    Hang,
    /// It drops the connection on each call.
    CloseConnection,
    /// It answers bytes that are not a message.
    Garbage,
    /// It answers later than the others by this much.
    Delay(Duration),
    /// It reads well, and goes wrong when it is to change something.
    OnWrite(OnWrite),
}

/// What goes wrong when a tablet is to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnWrite {
    /// It refuses, and changes nothing.
    Refuse,
    /// It never answers, and changes nothing.
    Hang,
    /// It makes the change, and the connection breaks before the answer is out.
    LoseAnswer,
    /// It makes the change and dies: the connection breaks, and every later one.
    Die,
}
