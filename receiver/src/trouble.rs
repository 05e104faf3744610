//! What is wrong for a while: when it is to be said. It writes nothing itself.

use std::time::{Duration, Instant};

/// How often a trouble that lasts is said again. Said once, it would be where nobody looks any more; said for each
/// delivery, it would hide everything else.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What was said last, and when; nothing while all is well.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Option<(String, Instant)>);

impl Trouble {
    /// Whether this trouble, which is there `now`, is news or was last said long ago. If so, it counts as said.
    pub(crate) fn is_to_be_said(&mut self, trouble: &str, now: Instant) -> bool {
        let is_known = |(said, when): &(String, Instant)| said == trouble && now.duration_since(*when) < SAID_EVERY;
        let is_to_be_said = !self.0.as_ref().is_some_and(is_known);
        if is_to_be_said {
            self.0 = Some((trouble.to_owned(), now));
        }
        is_to_be_said
    }

    /// All is well. Whether it was not before.
    pub(crate) fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_when_it_comes_every_minute_while_it_lasts_and_when_it_has_gone() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!trouble.end());
        let said: Vec<u64> = (0..150).filter(|second| trouble.is_to_be_said("the disk is full", at(*second))).collect();
        assert_eq!(said, [0, 60, 120]);
        assert!(trouble.is_to_be_said("the disk is gone", at(150)), "another one is news");
        assert!(trouble.end() && !trouble.end());
        assert!(trouble.is_to_be_said("the disk is gone", at(151)));
    }
}
