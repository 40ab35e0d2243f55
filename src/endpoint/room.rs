//! Who may come to an instance's server, of those who connect to its address: so many at once, and of clients that have
//! said nothing yet only so many from one address.
//!
//! A connection costs the instance a place from the moment that a server answers it, and MariaDB answers before its
//! client has said anything. So a client that connects and says nothing could take every place. Here each connection is a
//! *guest* until its client has said its first word:
//!
//! - one address has a quarter of the places at most for guests that say nothing; further ones wait without a server;
//! - where somebody waits, the guest of that address that has been silent longest gives way: after [`SILENCE`], or after
//!   [`CROWDED`] where the address has a crowd of guests of which none has spoken for so long. A pool that opens all its
//!   connections at once is a crowd, too, but one that speaks;
//! - of a crowd that does not speak, those that have waited for so long are closed, too: they would only take their turn;
//! - an address with few guests is served before one with many, and of a crowd the newest is served first: whoever has
//!   waited is silent, most likely, and an honest client that comes now has not been yet;
//! - an address has as many guests as the instance has places at most, and all together somewhat more: beyond that the
//!   oldest that waits is closed.
//!
//! A client that has spoken is no guest any more, has its place until it ends, and gives way to nobody.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

/// How long a client may be silent when another waits for its place.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// The same of an address that has a crowd of such clients, none of which speaks, once the server has spoken to it.
const CROWDED: Duration = Duration::from_millis(500);

/// More guests of one address than this are a crowd.
const CROWD: usize = 16;

/// Places that one address may have for silent clients, however small the instance is.
const LEAST: usize = 8;

/// How many guests there may be beyond the instance's places, of all addresses together.
const SPARE: usize = 64;

/// The places of one address that is listened on.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

struct Inner {
    /// The places.
    most: AtomicUsize,
    state: Mutex<State>,
    /// Somebody waits, and nobody did before.
    waits: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Places that are taken, by guests or by clients that have spoken.
    taken: usize,
    /// By their number: the oldest first.
    guests: BTreeMap<u64, Guest>,
    addresses: HashMap<IpAddr, Address>,
    waiting: usize,
    leaving: usize,
}

/// The guests of one address.
#[derive(Clone, Copy, Default)]
struct Address {
    guests: usize,
    seated: usize,
    /// When one of them has spoken last.
    heard: Option<Instant>,
}

impl Address {
    /// Whether it has many guests of which none has spoken for a while.
    fn is_silent_crowd(&self, now: Instant) -> bool {
        self.guests > CROWD && self.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= CROWDED)
    }
}

struct Guest {
    from: IpAddr,
    stage: Stage,
    end: Option<oneshot::Sender<()>>,
}

enum Stage {
    /// It has asked for no place yet.
    Came,
    /// It wants a place, since then.
    Waits(oneshot::Sender<()>, Instant),
    /// It has one: since when its server is reached, and whether that has spoken.
    Sits(Option<Instant>, bool),
    /// It was told to go.
    Leaves,
}

/// A connection in the room; ends with the value.
pub(super) struct Visit {
    room: Room,
    number: u64,
    seated: bool,
    heard: bool,
}

/// Ready when a guest must go.
pub(super) struct Over(oneshot::Receiver<()>);

impl Over {
    pub(super) async fn ready(self) {
        if self.0.await.is_err() {
            // It has spoken, or is gone.
            std::future::pending().await
        }
    }
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most: AtomicUsize::new(most), state: Mutex::default(), waits: Notify::new() }))
    }

    /// Gives it so many places from now on. Who has one keeps it.
    pub(super) fn resize(&self, most: usize) {
        if self.0.most.swap(most, Ordering::Relaxed) != most {
            self.settle();
        }
    }

    /// The places.
    pub(super) fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }

    /// The places that silent clients of one address may have.
    fn silent(&self) -> usize {
        let most = self.most();
        (most / 4).max(LEAST).min(most)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has come from there.
    pub(super) fn enter(&self, from: IpAddr) -> (Visit, Over) {
        let (end, over) = oneshot::channel();
        let mut state = self.state();
        if state.address(from).guests >= self.most() {
            state.close_oldest(from);
        } else if state.guests.len() >= self.most() + SPARE
            && let Some(crowded) = state.most_guests()
        {
            state.close_oldest(crowded);
        }
        let number = state.next;
        state.next += 1;
        state.addresses.entry(from).or_default().guests += 1;
        state.guests.insert(number, Guest { from, stage: Stage::Came, end: Some(end) });
        (Visit { room: self.clone(), number, seated: false, heard: false }, Over(over))
    }

    /// Whether somebody waits while every place is taken.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.waiting > 0 && state.taken >= self.most()
    }

    /// Ready when somebody begins to wait.
    pub(super) async fn begins_to_wait(&self) {
        self.0.waits.notified().await;
    }

    /// Whether somebody waits: then [`Self::settle`] is to be called now and then.
    pub(super) fn has_waiting(&self) -> bool {
        self.state().waiting > 0
    }

    /// Gives places to those who wait, and has silent guests give way.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        if state.waiting > 0 {
            state.settle(self.most(), self.silent(), Instant::now());
        }
    }
}

impl Visit {
    /// Ready when it has a place.
    pub(super) async fn seat(&mut self) {
        let seated = {
            let (most, silent) = (self.room.most(), self.room.silent());
            let mut state = self.room.state();
            if state.waiting == 0 && state.has_place(most, silent, self.number) {
                state.sit(self.number, self.heard);
                None
            } else {
                let (seat, seated) = oneshot::channel();
                state.wait(self.number, seat);
                state.settle(most, silent, Instant::now());
                self.room.0.waits.notify_one();
                Some(seated)
            }
        };
        if let Some(seated) = seated
            && seated.await.is_err()
        {
            // It was told to go meanwhile.
            std::future::pending().await
        }
        self.seated = true;
        if self.heard {
            self.room.state().forget(self.number);
        }
    }

    /// Its server is reached.
    pub(super) fn reached(&self) {
        self.note(|since, _| {
            since.get_or_insert_with(Instant::now);
        });
    }

    /// Its server has spoken to it: from now on it is its turn.
    pub(super) fn greeted(&self) {
        self.note(|since, greeted| {
            if !std::mem::replace(greeted, true) {
                *since = Some(Instant::now());
            }
        });
    }

    fn note(&self, what: impl FnOnce(&mut Option<Instant>, &mut bool)) {
        if let Some(Guest { stage: Stage::Sits(since, greeted), .. }) =
            self.room.state().guests.get_mut(&self.number)
        {
            what(since, greeted);
        }
    }

    /// Its client has spoken.
    pub(super) fn heard(&mut self) {
        self.heard = true;
        let mut state = self.room.state();
        state.spoke(self.number);
        if self.seated {
            state.forget(self.number);
            drop(state);
            self.room.settle();
        } else if let Some(guest) = state.guests.get_mut(&self.number) {
            // It cannot be told to go any more.
            guest.end = None;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.room.state();
        // It may have been given a place and not have heard of it.
        let sits = state.forget(self.number).is_some_and(|stage| matches!(stage, Stage::Sits(..)));
        if self.seated || sits {
            state.taken -= 1;
        }
        drop(state);
        self.room.settle();
    }
}

impl State {
    fn address(&self, from: IpAddr) -> Address {
        self.addresses.get(&from).copied().unwrap_or_default()
    }

    /// The address that has the most guests.
    fn most_guests(&self) -> Option<IpAddr> {
        self.addresses.iter().max_by_key(|(_, address)| address.guests).map(|(from, _)| *from)
    }

    fn has_place(&self, most: usize, silent: usize, number: u64) -> bool {
        self.taken < most
            && self
                .guests
                .get(&number)
                .filter(|guest| !matches!(guest.stage, Stage::Leaves))
                .is_some_and(|guest| guest.end.is_none() || self.address(guest.from).seated < silent)
    }

    fn wait(&mut self, number: u64, seat: oneshot::Sender<()>) {
        if let Some(guest) = self.guests.get_mut(&number)
            && !matches!(guest.stage, Stage::Leaves)
        {
            guest.stage = Stage::Waits(seat, Instant::now());
            self.waiting += 1;
        }
    }

    /// Gives the guest a place.
    fn sit(&mut self, number: u64, heard: bool) {
        let Some(guest) = self.guests.get_mut(&number) else { return };
        let before = std::mem::replace(&mut guest.stage, Stage::Sits(None, heard));
        self.taken += 1;
        self.addresses.entry(guest.from).or_default().seated += 1;
        if let Stage::Waits(seat, _) = before {
            self.waiting -= 1;
            // One that is gone gives it back when it is dropped.
            let _ = seat.send(());
        }
    }

    /// The guest is none any more; gives the stage in which it was.
    fn forget(&mut self, number: u64) -> Option<Stage> {
        let guest = self.guests.remove(&number)?;
        match guest.stage {
            Stage::Waits(..) => self.waiting -= 1,
            Stage::Leaves => self.leaving -= 1,
            Stage::Came | Stage::Sits(..) => {}
        }
        if let Some(address) = self.addresses.get_mut(&guest.from) {
            address.guests -= 1;
            if matches!(guest.stage, Stage::Sits(..)) {
                address.seated -= 1;
            }
            if address.guests == 0 {
                self.addresses.remove(&guest.from);
            }
        }
        Some(guest.stage)
    }

    /// Tells a guest to go; its place is free once it has.
    fn tell_to_go(&mut self, number: u64) {
        let Some(guest) = self.guests.get_mut(&number) else { return };
        let Some(end) = guest.end.take() else { return };
        match std::mem::replace(&mut guest.stage, Stage::Leaves) {
            Stage::Waits(..) => self.waiting -= 1,
            Stage::Sits(..) => {
                if let Some(address) = self.addresses.get_mut(&guest.from) {
                    address.seated -= 1;
                }
            }
            Stage::Came | Stage::Leaves => {}
        }
        self.leaving += 1;
        let _ = end.send(());
    }

    fn spoke(&mut self, number: u64) {
        if let Some(guest) = self.guests.get(&number)
            && let Some(address) = self.addresses.get_mut(&guest.from)
        {
            address.heard = Some(Instant::now());
        }
    }

    /// Closes those that have waited for long in a crowd of which none speaks, but for the newest.
    fn thin_out(&mut self, now: Instant) {
        let mut kept: HashMap<IpAddr, usize> = HashMap::new();
        let mut closed = Vec::new();
        for (number, guest) in self.guests.iter().rev() {
            let Stage::Waits(_, since) = guest.stage else { continue };
            if guest.end.is_none() || !self.address(guest.from).is_silent_crowd(now) {
                continue;
            }
            let kept = kept.entry(guest.from).or_default();
            *kept += 1;
            if *kept > CROWD && now.saturating_duration_since(since) >= CROWDED {
                closed.push(*number);
            }
        }
        closed.into_iter().for_each(|number| self.tell_to_go(number));
    }

    /// Closes the oldest guest of the address that has no place.
    fn close_oldest(&mut self, from: IpAddr) {
        let waits = |guest: &Guest| {
            guest.from == from && guest.end.is_some() && matches!(guest.stage, Stage::Came | Stage::Waits(..))
        };
        let oldest = self.guests.iter().find(|(_, guest)| waits(guest)).map(|(number, _)| *number);
        if let Some(number) = oldest {
            self.tell_to_go(number);
        }
    }

    fn settle(&mut self, most: usize, silent: usize, now: Instant) {
        self.thin_out(now);
        // Of each address, those that wait, the oldest first.
        let mut waits: HashMap<IpAddr, std::collections::VecDeque<u64>> = HashMap::new();
        for (number, guest) in &self.guests {
            if matches!(guest.stage, Stage::Waits(..)) {
                waits.entry(guest.from).or_default().push_back(*number);
            }
        }
        let mut waits: Vec<(IpAddr, _)> = waits.into_iter().collect();
        waits.sort_by_key(|(from, _)| (self.address(*from).guests, *from));
        for (from, waits) in &mut waits {
            while let Some(number) = if waits.len() > CROWD { waits.back() } else { waits.front() }.copied() {
                if self.has_place(most, silent, number) {
                    let heard = self.guests.get(&number).is_some_and(|guest| guest.end.is_none());
                    self.sit(number, heard);
                } else if !self.make_room(*from, most, now) {
                    break;
                }
                waits.retain(|other| *other != number);
            }
        }
    }

    /// Has a silent guest give way to one of `from`; whether one does.
    fn make_room(&mut self, from: IpAddr, most: usize, now: Instant) -> bool {
        let full = self.taken >= most;
        // Each that leaves makes room for one.
        if full && self.leaving >= self.waiting {
            return false;
        }
        let whose = match full {
            false => Some(from),
            true => self
                .addresses
                .iter()
                .max_by_key(|(_, address)| address.seated)
                .filter(|(_, address)| address.seated > 0)
                .map(|(from, _)| *from),
        };
        let Some(whose) = whose else { return false };
        let crowd = self.address(whose).is_silent_crowd(now);
        let silent = |guest: &Guest| match guest.stage {
            Stage::Sits(Some(since), greeted) if guest.from == whose && guest.end.is_some() => {
                let patience = if greeted && crowd { CROWDED } else { SILENCE };
                now.saturating_duration_since(since) >= patience
            }
            _ => false,
        };
        let oldest = self.guests.iter().find(|(_, guest)| silent(guest)).map(|(number, _)| *number);
        oldest.map(|number| self.tell_to_go(number)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWDING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    async fn is_seated(visit: &mut Visit) -> bool {
        tokio::time::timeout(Duration::from_millis(20), visit.seat()).await.is_ok()
    }

    async fn is_over(over: Over) -> bool {
        tokio::time::timeout(Duration::from_millis(20), over.ready()).await.is_ok()
    }

    /// As many silent guests of one address as have a place.
    async fn crowd(room: &Room, count: usize) -> Vec<(Visit, Over)> {
        let mut crowd = Vec::new();
        for _ in 0..count {
            let (mut visit, over) = room.enter(CROWDING);
            assert!(is_seated(&mut visit).await);
            visit.reached();
            visit.greeted();
            crowd.push((visit, over));
        }
        crowd
    }

    #[tokio::test]
    async fn silent_guests_of_one_address_have_a_quarter_and_others_the_rest() {
        let room = Room::new(80);
        let mut crowd = crowd(&room, 20).await;
        let (mut more, _over) = room.enter(CROWDING);
        assert!(!is_seated(&mut more).await);
        assert!(!room.is_full());
        let (mut other, _other_over) = room.enter(OTHER);
        assert!(is_seated(&mut other).await);
        // Whoever speaks is no guest any more, and makes room for one.
        crowd[7].0.heard();
        drop(more);
        let (mut more, _over) = room.enter(CROWDING);
        assert!(is_seated(&mut more).await);
        assert_eq!(room.state().taken, 22);
        drop((crowd, more, other));
        let state = room.state();
        assert_eq!((state.taken, state.waiting, state.leaving, state.guests.len()), (0, 0, 0, 0));
        assert!(state.addresses.is_empty());
    }

    #[tokio::test]
    async fn the_longest_silent_one_of_a_crowd_gives_way_to_the_newest() {
        let room = Room::new(80);
        let mut crowd = crowd(&room, 20).await;
        tokio::time::sleep(CROWDED).await;
        let (mut newest, _over) = room.enter(CROWDING);
        assert!(!is_seated(&mut newest).await, "until the other has gone");
        let (oldest, over) = crowd.remove(0);
        assert!(is_over(over).await);
        let (_, over) = crowd.remove(0);
        assert!(!is_over(over).await, "one for one");
        drop(oldest);
        assert!(is_seated(&mut newest).await);
    }

    #[tokio::test]
    async fn a_crowd_that_speaks_is_left_in_peace_and_one_that_does_not_is_thinned_out() {
        let room = Room::new(80);
        let mut crowd = crowd(&room, 20).await;
        let mut waiting = Vec::new();
        for _ in 0..30 {
            let (mut visit, over) = room.enter(CROWDING);
            assert!(tokio::time::timeout(Duration::from_millis(1), visit.seat()).await.is_err());
            waiting.push((visit, over));
        }
        tokio::time::sleep(CROWDED).await;
        crowd[0].0.heard();
        room.settle();
        assert_eq!(room.state().leaving, 0, "one has just spoken");
        tokio::time::sleep(CROWDED).await;
        room.settle();
        {
            let state = room.state();
            assert!(
                state.waiting <= CROWD && state.leaving > 0,
                "{} of {}",
                state.waiting,
                state.guests.len()
            );
        }
        let (_, over) = waiting.remove(0);
        assert!(is_over(over).await);
    }

    #[tokio::test]
    async fn a_full_room_has_silence_give_way_and_nobody_who_has_spoken() {
        let room = Room::new(2);
        let mut spoken = crowd(&room, 1).await;
        spoken[0].0.heard();
        let mut silent = crowd(&room, 1).await;
        let (mut other, _over) = room.enter(OTHER);
        assert!(!is_seated(&mut other).await);
        assert!(room.is_full());
        tokio::time::sleep(SILENCE).await;
        room.settle();
        assert!(is_over(silent.remove(0).1).await);
    }

    #[tokio::test]
    async fn an_address_has_no_more_guests_than_there_are_places() {
        let room = Room::new(10);
        let mut came: Vec<_> = (0..11).map(|_| room.enter(CROWDING)).collect();
        assert!(is_over(came.remove(0).1).await);
        assert!(!is_over(came.remove(0).1).await);
        let (mut other, over) = room.enter(OTHER);
        // Told to go and not gone yet, it takes no place.
        room.state().close_oldest(OTHER);
        assert!(!is_seated(&mut other).await);
        assert!(is_over(over).await);
        drop((other, came));
        let state = room.state();
        assert_eq!((state.taken, state.waiting, state.leaving, state.guests.len()), (0, 0, 0, 0));
    }
}
