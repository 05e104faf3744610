//! Secrets never reach a log or a mail: their values are replaced while output streams by.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::secrets::Secret;

/// Shortest value that is masked, in bytes. Masking anything shorter would riddle every log.
pub const MIN_MASKED_BYTES: usize = 6;

/// What stands in a secret's place.
pub const MASK: &[u8] = b"***";

/// The values that must not be shown.
#[derive(Debug, Clone)]
pub struct Masks {
    values: Option<AhoCorasick>,
    longest: usize,
}

impl Masks {
    /// Masks these secrets: each as a whole, and each line of one with several lines, but for lines that are no secret: those
    /// that are shorter than [`MIN_MASKED_BYTES`], and the armour of a key.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        let lines = |secret: &'s Secret| {
            secret.bytes().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !is_armour(line))
        };
        let whole_and_lines = |secret: &'s Secret| std::iter::once(secret.bytes().trim_ascii()).chain(lines(secret));
        let mut values: Vec<&[u8]> =
            secrets.into_iter().flat_map(whole_and_lines).filter(|value| value.len() >= MIN_MASKED_BYTES).collect();
        values.sort_unstable();
        values.dedup();
        let longest = values.iter().map(|value| value.len()).max().unwrap_or(0);
        // Building fails only beyond billions of states; secrets are bounded far below that.
        let values = if values.is_empty() {
            None
        } else {
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values).ok()
        };
        Self { values, longest }
    }

    /// A stream through which output passes chunk by chunk.
    #[must_use]
    pub const fn stream(&self) -> MaskedStream<'_> {
        MaskedStream { masks: self, held: Vec::new() }
    }

    /// One whole text, masked.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let mut stream = self.stream();
        let mut shown = stream.push(text.as_bytes());
        shown.extend(stream.finish());
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// Whether every key of its kind has this line (RFC 7468 section 2).
fn is_armour(line: &[u8]) -> bool {
    (line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ")) && line.ends_with(b"-----")
}

/// Output on its way. The end of what was pushed is held back while it may be the beginning of a secret.
#[derive(Debug)]
pub struct MaskedStream<'m> {
    masks: &'m Masks,
    held: Vec<u8>,
}

impl MaskedStream<'_> {
    /// Takes a chunk and gives what can be shown by now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        // A match that begins before `settled` has all its bytes here, whichever secret it is.
        let settled = (self.held.len() + 1).saturating_sub(self.masks.longest.max(1));
        self.release(settled)
    }

    /// Gives what was held back.
    pub fn finish(mut self) -> Vec<u8> {
        let all = self.held.len();
        self.release(all)
    }

    fn release(&mut self, settled: usize) -> Vec<u8> {
        let mut shown = Vec::with_capacity(settled);
        let mut at = 0;
        for found in self.masks.values.iter().flat_map(|values| values.find_iter(&self.held)) {
            if found.start() >= settled {
                break;
            }
            shown.extend_from_slice(&self.held[at..found.start()]);
            shown.extend_from_slice(MASK);
            at = found.end();
        }
        let end = at.max(settled);
        shown.extend_from_slice(&self.held[at..end]);
        self.held.drain(..end);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks(values: &[&str]) -> Masks {
        let secrets: Vec<Secret> = values.iter().map(|value| Secret::new(value.as_bytes().to_vec())).collect();
        Masks::new(&secrets)
    }

    #[test]
    fn a_secret_is_masked_also_by_the_line_and_never_a_trivial_one() {
        let masks = masks(&["hunter22", "first line\nab\nsecond line", "abc"]);
        assert_eq!(masks.mask("a hunter22 b"), "a *** b");
        assert_eq!(masks.mask("x second line abc"), "x *** abc");
        assert_eq!(masks.mask("first line\nab\nsecond line"), "***");
    }

    #[test]
    fn the_armour_of_a_key_is_no_secret_and_the_key_is() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nb3BlbnNzaC1rZXk\r\nAAAAB3\r\n-----END OPENSSH PRIVATE KEY-----\r\n";
        let masks = masks(&[key]);
        let public = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----";
        assert_eq!(masks.mask(public), public.replace("b3BlbnNzaC1rZXk", "***"));
        assert_eq!(masks.mask(&format!("a {key} b")), "a ***\r\n b");
    }

    #[test]
    fn the_longer_of_two_secrets_wins() {
        assert_eq!(masks(&["secret", "secret-and-more"]).mask("secret-and-more secret"), "*** ***");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in "(hunter22|secret|hunt|sec|x|ret){0,30}", cuts in proptest::collection::vec(0usize..200, 0..20)) {
            let masks = masks(&["hunter22", "secret", "secretx"]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut stream = masks.stream();
            let mut shown = Vec::new();
            for pair in cuts.windows(2) {
                shown.extend(stream.push(&text.as_bytes()[pair[0]..pair[1]]));
            }
            shown.extend(stream.finish());
            let shown = String::from_utf8(shown).unwrap();
            prop_assert_eq!(&shown, &masks.mask(&text));
            prop_assert!(!shown.contains("hunter22") && !shown.contains("secret"));
        }
    }
}
