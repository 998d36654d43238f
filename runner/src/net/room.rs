//! How many bytes of tablets' answers there may be at once, all requests of a server together.
//!
//! A request's bytes count from when they come until it ends. It may grow as long as it has no more than is left: one alone gets
//! half of all, many get equal parts, and there is always some left for the next one. Nobody waits for room, since who waits
//! would keep what it has meanwhile: an ask that finds none fails, and says so.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// The room of a server; without [`Room::bound`] there is no end to it.
#[derive(Default)]
pub(crate) struct Room {
    bound: OnceLock<Bound>,
    taken: AtomicUsize,
}

struct Bound {
    bytes: usize,
    refused: Box<dyn Fn() + Send + Sync>,
}

impl Room {
    /// Bounds it, once and for all. `refused` is told of every ask that finds no room.
    pub(crate) fn bound(&self, bytes: usize, refused: impl Fn() + Send + Sync + 'static) {
        // A second server of the same tablets has the bound of the first.
        let _ = self.bound.set(Bound { bytes, refused: Box::new(refused) });
    }

    /// What one request has of it: nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { room: self, held: AtomicUsize::new(0) }
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// What one request has. Dropping it gives all of it back.
pub(crate) struct Share<'a> {
    room: &'a Room,
    held: AtomicUsize,
}

impl Share<'_> {
    /// For the bytes of one answer.
    pub(crate) fn answer(&self) -> Taken<'_> {
        Taken { share: self, bytes: 0 }
    }

    fn take(&self, bytes: usize) -> Result<(), String> {
        let Some(bound) = self.room.bound.get() else { return Ok(()) };
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let fits = |taken: usize| {
            let taken = taken.checked_add(bytes)?;
            (held <= bound.bytes.saturating_sub(taken)).then_some(taken)
        };
        if self.room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok() {
            return Ok(());
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        (bound.refused)();
        Err(format!(
            "this server has no room for more of its answer: this request has {} bytes of answers and all have {}, of {}; ask for less at \
             a time, or try again",
            self.held.load(Ordering::Relaxed),
            self.room.taken.load(Ordering::Relaxed),
            bound.bytes
        ))
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.room.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.give_back(self.held.load(Ordering::Relaxed));
    }
}

/// What the bytes of one answer take. Dropping it gives them back, [`Taken::keep`] leaves them to the request.
pub(crate) struct Taken<'a> {
    share: &'a Share<'a>,
    bytes: usize,
}

impl Taken<'_> {
    /// Takes room for more.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), String> {
        self.share.take(bytes)?;
        if self.share.room.bound.get().is_some() {
            self.bytes += bytes;
        }
        Ok(())
    }

    /// The answer is there and stays.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes: usize) -> (Room, std::sync::Arc<AtomicUsize>) {
        let (room, refused) = (Room::default(), std::sync::Arc::<AtomicUsize>::default());
        let count = std::sync::Arc::clone(&refused);
        room.bound(bytes, move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (room, refused)
    }

    /// As a tablet whose pages do not end: takes a page at a time until there is no room.
    fn fill(share: &Share<'_>) -> usize {
        let mut pages = 0;
        loop {
            let mut taken = share.answer();
            if taken.grow(1_000).is_err() {
                return pages;
            }
            taken.keep();
            pages += 1;
        }
    }

    #[test]
    fn requests_without_end_never_take_it_all_and_leave_room_for_the_next_one() {
        let (room, refused) = room(1_000_000);
        let alone = room.share();
        assert_eq!(fill(&alone), 500, "half of it");
        drop(alone);
        assert_eq!(room.taken(), 0);

        let shares: Vec<_> = (0..8).map(|_| room.share()).collect();
        for share in &shares {
            fill(share);
        }
        assert!(room.taken() < 1_000_000, "{}", room.taken());
        assert!(room.share().answer().grow(1_000).is_ok(), "{} taken: each took half of the rest", room.taken());
        drop(shares);
        assert_eq!(refused.load(Ordering::Relaxed), 9);
        let small = room.share();
        assert!(small.answer().grow(400_000).is_ok());
        assert_eq!(room.taken(), 0, "an answer that nobody kept");
    }

    #[test]
    fn requests_that_grow_together_get_equal_parts_and_one_part_stays_free() {
        let (room, _) = room(1_000_000);
        let shares: Vec<_> = (0..9).map(|_| room.share()).collect();
        let mut growing = true;
        while growing {
            growing = false;
            for share in &shares {
                let mut taken = share.answer();
                if taken.grow(1_000).is_ok() {
                    taken.keep();
                    growing = true;
                }
            }
        }
        assert!(shares.iter().all(|share| (99_000..=100_000).contains(&share.held.load(Ordering::Relaxed))));
        let late = room.share();
        assert!(fill(&late) >= 49, "half of the part that is free");
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let room = Room::default();
        let share = room.share();
        assert!(share.answer().grow(usize::MAX).is_ok() && share.answer().grow(usize::MAX).is_ok());
        assert_eq!(room.taken(), 0);
    }
}
