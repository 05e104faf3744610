//! Sizes as people write them: a number and a unit, each 1024 times the one before it.

/// Largest size, in bytes: a pebibyte. Anything larger was not meant.
const MAX_BYTES: u64 = 1 << 50;

fn bytes_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    })
}

pub(super) fn parse(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let bytes = number.parse::<u64>().ok().zip(bytes_of(unit.trim_start())).and_then(|(number, unit)| number.checked_mul(unit));
    match bytes {
        Some(bytes @ 0..=MAX_BYTES) => Ok(bytes),
        _ => Err(format!("{text:?} is not a size up to 1024TiB; write it like 512MiB or 2GiB")),
    }
}

/// A size as people write it: `64 MiB` where it is whole, else in bytes.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = UNITS.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("0B", 0), ("64KiB", 65_536), ("512 MiB", 536_870_912), ("2GiB", 2_147_483_648), ("1TiB", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (bytes, text) in [(0, "0 bytes"), (1000, "1000 bytes"), (1024, "1 KiB"), (3 << 29, "1536 MiB"), (1 << 40, "1 TiB")] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in ["", "5", "MiB", "1.5GiB", "-1MiB", "1GB", "1M", "1MiB2KiB", "1025TiB", "99999999999999999999B"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
