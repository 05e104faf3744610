//! How often a client may be refused before it has to wait, and which clients never have to.
//!
//! Every client (an IPv4 address, an IPv6 /64) has a budget of its own, so nobody pays for another's flood. Who had a
//! delivery accepted lately is never limited: behind a proxy that nobody listed, the forge has the attacker's address.
//! An ordinary body with a right signature is accepted even from whoever has to wait.
//! The memory of clients has a fixed size and cannot be made to forget in an attacker's favour: it forgets whoever is
//! forgiven soonest, and the clients of accepted deliveries have a memory of their own, which needs a secret to get into.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Refusals at once: somebody who sets webhooks up and gets secrets wrong stays far below.
const BURST: u64 = 60;

/// One refusal is forgiven in this time. So one request in it is looked at, however many come.
const FORGIVEN_IN: Duration = Duration::from_secs(1);

/// How long a client with an accepted delivery is not limited: longer than a quiet weekend.
const TRUSTED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Clients remembered of each kind are 512 times 8; in 64 KiB. A client can only be in one set, so each look costs the same.
const SETS: usize = 512;
const SET_SIZE: usize = 8;

/// What was refused to whom, and who was accepted.
#[derive(Debug)]
pub(crate) struct Refusals {
    start: Instant,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// When everything that was refused to a client is forgiven.
    refused: Clients,
    /// Until when a client is not limited.
    accepted: Clients,
}

impl Refusals {
    /// Nothing was refused yet at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, memory: Mutex::new(Memory { refused: Clients::new(), accepted: Clients::new() }) }
    }

    /// Whether `client` was refused so often that nothing of its is taken but ordinary bodies with a right signature.
    pub(crate) fn must_wait(&self, client: IpAddr, now: Instant) -> bool {
        let (client, now) = (name(client), self.millis(now));
        let memory = self.memory();
        let owed = memory.refused.until(client).saturating_sub(now);
        owed > (BURST - 1) * millis(FORGIVEN_IN) && memory.accepted.until(client) <= now
    }

    /// A request of `client` was refused.
    pub(crate) fn refused(&self, client: IpAddr, now: Instant) {
        let (client, now) = (name(client), self.millis(now));
        let mut memory = self.memory();
        let until = memory.refused.until(client).max(now) + millis(FORGIVEN_IN);
        // Requests that came at once may be more than the burst; that is not held against the client for longer.
        memory.refused.keep(client, until.min(now + BURST * millis(FORGIVEN_IN)));
    }

    /// A delivery of `client` was accepted.
    pub(crate) fn accepted(&self, client: IpAddr, now: Instant) {
        let until = self.millis(now) + millis(TRUSTED_FOR);
        self.memory().accepted.keep(name(client), until);
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.start))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

/// The number by which a client is known, never 0. Whoever has an IPv6 address has its whole /64.
fn name(client: IpAddr) -> u64 {
    match client.to_canonical() {
        // ffff::/16 is multicast, so nobody calls from there.
        IpAddr::V4(address) => 0xffff_0000_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => ((address.to_bits() >> 64) as u64).wrapping_add(1),
    }
}

/// Clients, each with an instant in milliseconds; what is 0 is free.
#[derive(Debug)]
struct Clients {
    sets: Vec<[Client; SET_SIZE]>,
    /// Keyed by chance, so that nobody can choose addresses that share a set.
    hash: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    name: u64,
    until: u64,
}

impl Clients {
    fn new() -> Self {
        Self { sets: vec![[Client::default(); SET_SIZE]; SETS], hash: RandomState::new() }
    }

    fn set_of(&self, name: u64) -> usize {
        (self.hash.hash_one(name) % SETS as u64) as usize
    }

    fn until(&self, name: u64) -> u64 {
        self.sets[self.set_of(name)].iter().find(|client| client.name == name).map_or(0, |client| client.until)
    }

    /// Remembers `name` in the place of itself, or else of whoever is the first to be forgotten anyway.
    fn keep(&mut self, name: u64, until: u64) {
        let set = self.set_of(name);
        let place = self.sets[set].iter_mut().min_by_key(|client| if client.name == name { (0, 0) } else { (1, client.until) });
        if let Some(place) = place {
            *place = Client { name, until };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn refused(times: u64, client: IpAddr) -> (Refusals, Instant) {
        let now = Instant::now();
        let refusals = Refusals::new(now);
        for _ in 0..times {
            refusals.refused(client, now);
        }
        (refusals, now)
    }

    #[test]
    fn who_was_refused_sixty_times_waits_a_second_for_each_further_request() {
        let client = ip("192.0.2.1");
        let (refusals, now) = refused(BURST - 1, client);
        assert!(!refusals.must_wait(client, now));
        refusals.refused(client, now);
        assert!(refusals.must_wait(client, now) && refusals.must_wait(client, now + SECOND / 2));
        assert!(!refusals.must_wait(client, now + SECOND));
        refusals.refused(client, now + SECOND);
        assert!(refusals.must_wait(client, now + SECOND) && !refusals.must_wait(client, now + 2 * SECOND));
    }

    #[test]
    fn after_a_minute_the_whole_budget_is_there_again() {
        let client = ip("192.0.2.1");
        let (refusals, now) = refused(10 * BURST, client);
        let later = now + 60 * SECOND;
        for _ in 0..BURST {
            assert!(!refusals.must_wait(client, later));
            refusals.refused(client, later);
        }
        assert!(refusals.must_wait(client, later));
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        let (refusals, now) = refused(BURST, ip("192.0.2.1"));
        assert!(refusals.must_wait(ip("::ffff:192.0.2.1"), now) && !refusals.must_wait(ip("192.0.2.2"), now));
        let (refusals, now) = refused(BURST, ip("2001:db8:0:1::1"));
        assert!(refusals.must_wait(ip("2001:db8:0:1:ffff::2"), now));
        assert!(!refusals.must_wait(ip("2001:db8:0:2::1"), now) && !refusals.must_wait(ip("::1"), now));
    }

    #[test]
    fn who_had_a_delivery_accepted_is_not_limited_for_a_week() {
        let client = ip("192.0.2.1");
        let (refusals, now) = refused(BURST, client);
        refusals.accepted(client, now);
        let week = 7 * 24 * 60 * 60 * SECOND;
        for later in [now, now + week - SECOND, now + week] {
            (0..BURST).for_each(|_| refusals.refused(client, later));
            assert_eq!(refusals.must_wait(client, later), later == now + week);
        }
    }

    #[test]
    fn a_flood_from_a_million_networks_forgets_no_accepted_client_and_limits_nobody_else() {
        let (forge, patient, worst) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
        let (refusals, now) = refused(BURST, worst);
        refusals.accepted(forge, now);
        for network in 0..1_000_000_u128 {
            refusals.refused(IpAddr::V6(((0x2001_0db8_u128 << 96) | (network << 64)).into()), now);
        }
        (0..BURST).for_each(|_| refusals.refused(forge, now));
        assert!(!refusals.must_wait(forge, now) && !refusals.must_wait(patient, now));
        assert!(refusals.must_wait(worst, now), "whoever owes most is remembered longest");
    }
}
