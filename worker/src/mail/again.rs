//! When a mail that did not get through is tried again. Pure: what is random is an argument.

use std::time::Duration;

/// How long a mail is tried. Mail servers give up after as long (RFC 5321 section 4.5.4.1).
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);

const FIRST: Duration = Duration::from_secs(10);
/// With the jitter on top, never more than an hour.
const LONGEST: Duration = Duration::from_mins(50);
const JITTER_PERCENT: u64 = 20;

/// How long to wait after this many attempts: 10 s, 20 s, 40 s and so on up to an hour, each up to a fifth more or less,
/// so that mails that failed together do not all come back together. The same seed gives the same delay.
#[must_use]
pub fn retry_after(attempts: u32, seed: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let percent = 100 - JITTER_PERCENT + mixed(seed ^ u64::from(attempts).rotate_left(32)) % (2 * JITTER_PERCENT + 1);
    Duration::from_millis(u64::try_from(base.as_millis()).unwrap_or(u64::MAX) / 100 * percent)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring seeds give unrelated values.
const fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_an_hour() {
        for (attempts, seconds) in [(0, 10), (1, 10), (2, 20), (3, 40), (4, 80), (9, 2560), (10, 3000), (u32::MAX, 3000)] {
            let delay = retry_after(attempts, 7).as_secs_f64();
            let base = f64::from(seconds);
            assert!((base * 0.8..=base * 1.2).contains(&delay), "{attempts}: {delay}");
        }
    }

    #[test]
    fn mails_that_failed_together_come_back_apart() {
        let delays: std::collections::HashSet<Duration> = (0..100).map(|seed| retry_after(5, seed)).collect();
        assert!(delays.len() > 30, "{delays:?}");
    }

    proptest! {
        #[test]
        fn every_delay_is_between_eight_seconds_and_an_hour(attempts: u32, seed: u64) {
            let delay = retry_after(attempts, seed);
            prop_assert!((Duration::from_secs(8)..=Duration::from_hours(1)).contains(&delay));
            prop_assert_eq!(delay, retry_after(attempts, seed));
        }
    }
}
