//! Which keys a set may hold, in two bytes a key: a Bloom filter whose every question touches one cache line.
//!
//! Keys are parts of SHA-256, so their own bits are as good as those of any hash over them.

use crate::delivery::SeenKey;

/// One cache line.
const BLOCK_BYTES: usize = 64;

/// Bits that a key sets in its block. With two bytes a key, one absent key in a thousand looks present.
const BITS_A_KEY: usize = 8;

/// Never says no to a key that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    /// An empty one that has room for `keys`.
    pub(super) fn for_keys(keys: usize) -> Self {
        Self(vec![0; (keys * 2).div_ceil(BLOCK_BYTES).max(1) * BLOCK_BYTES])
    }

    /// The filter whose bytes these are, if they are a filter's.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES)).then_some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn add(&mut self, key: &SeenKey) {
        let block = self.block_of(key);
        for (byte, bit) in bits_of(key) {
            self.0[block + byte] |= bit;
        }
    }

    pub(super) fn may_hold(&self, key: &SeenKey) -> bool {
        let block = self.block_of(key);
        bits_of(key).all(|(byte, bit)| self.0[block + byte] & bit != 0)
    }

    /// Where the key's block begins.
    fn block_of(&self, key: &SeenKey) -> usize {
        let [a, b, c, d, ..] = *key;
        let blocks = self.0.len() / BLOCK_BYTES;
        u32::from_le_bytes([a, b, c, d]) as usize % blocks * BLOCK_BYTES
    }
}

/// The key's bits within its block, from the bytes that did not choose the block.
fn bits_of(key: &SeenKey) -> impl Iterator<Item = (usize, u8)> {
    let rest = u128::from_le_bytes(*key) >> 32;
    (0..BITS_A_KEY).map(move |number| {
        let place = (rest >> (number * 9)) as usize % (BLOCK_BYTES * 8);
        (place / 8, 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn key(number: u64) -> SeenKey {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(number.to_le_bytes())[..16]);
        key
    }

    #[test]
    fn every_key_that_was_added_may_be_there_and_hardly_any_other() {
        const KEYS: u64 = 10_000;
        let mut filter = Filter::for_keys(KEYS as usize);
        (0..KEYS).for_each(|number| filter.add(&key(number)));
        let filter = Filter::from_bytes(filter.bytes().to_vec()).unwrap();
        assert!((0..KEYS).all(|number| filter.may_hold(&key(number))));
        let mistaken = (KEYS..KEYS * 11).filter(|number| filter.may_hold(&key(*number))).count();
        assert!(mistaken < 300, "{mistaken} of 100,000 absent keys look present");
    }

    #[test]
    fn bytes_that_are_no_blocks_are_no_filter() {
        assert_eq!((Filter::from_bytes(vec![]), Filter::from_bytes(vec![0; 65])), (None, None));
    }
}
